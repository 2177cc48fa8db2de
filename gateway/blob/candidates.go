package blob

import (
	"slices"
	"time"

	"kintsugi/placement"
)

// locator finds the drives that may hold the shards of a chunk.
type locator struct {
	s         *Store
	m         *placement.Map
	partition uint32
	shards    int // of the chunk's code
}

// likely appends to to the drives where shard i belongs and that are well: its home, its home before the open
// transition, and the drive that a writer would choose now.
func (l *locator) likely(to []target, i int) []target {
	now := time.Now()
	homes := l.m.Homes(l.partition)
	home := false
	if i < len(homes) {
		to, home = l.consider(to, homes[i], now)
	}
	if previous := l.m.Previous(l.partition); i < len(previous) {
		to, _ = l.consider(to, previous[i], now)
	}
	if l.shards < l.m.Slots() || !home && len(l.m.Drives) > l.m.Slots() {
		to, _ = l.consider(to, l.standIn(i), now)
	}
	return to
}

// consider adds a drive unless it is down, suspect or there already.
func (l *locator) consider(to []target, id placement.DriveID, now time.Time) ([]target, bool) {
	t := l.s.target(id)
	if t.drive == nil || !t.health.reads.allow(now) {
		return to, false
	}
	if slices.ContainsFunc(to, func(o target) bool { return o.health == t.health }) {
		return to, true
	}
	return append(to, t), true
}

// standIn is where a writer would put shard i if it came now, by what is up and well: the i-th drive of the
// ranking for a narrow code, else the substitute for its home.
func (l *locator) standIn(i int) placement.DriveID {
	ranking := slices.DeleteFunc(l.m.Ranking(l.partition), func(id placement.DriveID) bool {
		t := l.s.target(id)
		return t.drive == nil || t.health.writes.open()
	})
	if l.shards < l.m.Slots() {
		if i < len(ranking) {
			return ranking[i]
		}
		return placement.DriveID{}
	}
	homes := l.m.Homes(l.partition)
	vacant := 0 // homes before slot i that are stood in for, too
	for _, id := range homes[:min(i, len(homes))] {
		if !slices.Contains(ranking, id) {
			vacant++
		}
	}
	for _, id := range ranking {
		if slices.Contains(homes, id) {
			continue
		}
		if vacant == 0 {
			return id
		}
		vacant--
	}
	return placement.DriveID{}
}

// all are the drives that are up, in the order in which they are likely to have shard i. Suspects are among them: before a
// read fails, everything is tried.
func (l *locator) all(i int) []target {
	var targets []target
	seen := make(map[placement.DriveID]bool)
	add := func(id placement.DriveID) {
		if seen[id] {
			return
		}
		seen[id] = true
		if t := l.s.target(id); t.drive != nil {
			targets = append(targets, t)
		}
	}
	homes := l.m.Homes(l.partition)
	if i < len(homes) {
		add(homes[i])
	}
	for _, ids := range [][]placement.DriveID{homes, l.m.Previous(l.partition), l.m.Ranking(l.partition)} {
		for _, id := range ids {
			add(id)
		}
	}
	for _, d := range l.m.Drives {
		add(d.ID)
	}
	return targets
}

// isHome tells whether shard i belongs on the drive, now, and was sent there when it was written.
func (l *locator) isHome(id placement.DriveID, i int) bool {
	homes := l.m.Homes(l.partition)
	return l.shards == l.m.Slots() && i < len(homes) && homes[i] == id
}
