package blob

import (
	"fmt"
	"slices"
	"time"

	"kintsugi/erasure"
	"kintsugi/internal/plant"
	"kintsugi/placement"
)

// target is a drive that a shard is sent to or looked for at.
type target struct {
	drive  Drive
	health *health
}

// assignment says where the shards of one chunk go.
type assignment struct {
	code    erasure.Params
	need    int      // so many durable shards make the chunk good
	targets []target // of shard i; fewer than code.Shards() if there are not so many drives
	spares  []target // healthy drives that have none, in order
	stoodIn int      // targets that stand in for an unhealthy home
}

// assign places a chunk. Where all homes are healthy they are it; an unhealthy one is stood
// in for by the next healthy drive of the partition's ranking. Where fewer than k+m drives are healthy the
// code gets narrower but keeps its m. Drives in exclude have failed this very chunk.
func (s *Store) assign(m *placement.Map, partition uint32, exclude []placement.DriveID) (assignment, error) {
	now := time.Now()
	homes := m.Homes(partition)
	a := assignment{code: erasure.Params{K: m.K, M: m.M}, targets: make([]target, 0, len(homes))}
	verdicts := make([]verdict, len(homes))
	for i, id := range homes {
		verdicts[i] = s.judgeForWrite(id, now, exclude)
		if verdicts[i].state == healthy {
			a.targets = append(a.targets, verdicts[i].target)
		}
	}
	a.need = quorum(a.code)
	if plant.Is(plant.AckTooFew) && len(a.targets) >= a.code.K {
		a.need = a.code.K - 1
		a.targets = a.targets[:a.need]
		return a, nil
	}
	if len(a.targets) == a.code.Shards() {
		return a, nil
	}
	return s.assignAround(m, partition, homes, verdicts, now, exclude)
}

// quorum is how many shards must be durable before a chunk counts: one may then be lost at
// once, before repair has made up for those that are missing.
func quorum(p erasure.Params) int {
	if p.M == 0 {
		return p.K
	}
	return p.K + 1
}

type driveState uint8

const (
	down    driveState = iota // known to be: no Drive, or it failed this chunk
	suspect                   // its breaker is open
	healthy
)

type verdict struct {
	target
	state driveState
}

func (s *Store) judgeForWrite(id placement.DriveID, now time.Time, exclude []placement.DriveID) verdict {
	if id.IsZero() || slices.Contains(exclude, id) {
		return verdict{}
	}
	d := s.cluster.Drive(id)
	if d == nil {
		return verdict{}
	}
	v := verdict{target: target{d, s.health.of(id, d)}, state: healthy}
	if !v.health.writes.allow(now) {
		v.state = suspect
	}
	return v
}

// assignAround places a chunk that cannot go to its homes alone.
func (s *Store) assignAround(m *placement.Map, partition uint32, homes []placement.DriveID, atHome []verdict, now time.Time, exclude []placement.DriveID) (assignment, error) {
	ranking := m.Ranking(partition)
	verdicts := make([]verdict, len(ranking))
	suspects := 0
	for i, id := range ranking {
		if slot := slices.Index(homes, id); slot >= 0 {
			verdicts[i] = atHome[slot]
		} else {
			verdicts[i] = s.judgeForWrite(id, now, exclude)
		}
		if verdicts[i].state == suspect {
			suspects++
		}
	}
	pick := healthy
	if suspects > m.M {
		pick = suspect // more than m at once are not hung but busy, or nothing can be done: suspicion must not stop writes
	}
	usable := make([]target, 0, len(ranking))
	usableHome := make([]bool, len(homes))
	for i, v := range verdicts {
		if v.state < pick {
			continue
		}
		usable = append(usable, v.target)
		if slot := slices.Index(homes, ranking[i]); slot >= 0 {
			usableHome[slot] = true
		}
	}
	if len(usable) >= m.Slots() {
		return assignFull(m, homes, usableHome, usable), nil
	}
	return assignNarrow(m, usable, len(ranking)-len(usable))
}

// assignFull gives slot i to its home if that is usable, else to the next usable drive that is no home.
func assignFull(m *placement.Map, homes []placement.DriveID, usableHome []bool, usable []target) assignment {
	a := assignment{code: erasure.Params{K: m.K, M: m.M}}
	a.need = quorum(a.code)
	a.targets = make([]target, m.Slots())
	for _, t := range usable {
		if slot := slices.Index(homes, t.health.id); slot >= 0 && usableHome[slot] {
			a.targets[slot] = t
		} else {
			a.spares = append(a.spares, t)
		}
	}
	for i := range a.targets {
		if a.targets[i].drive == nil {
			a.targets[i], a.spares = a.spares[0], a.spares[1:]
			a.stoodIn++
		}
	}
	return a
}

// assignNarrow makes a code of the same m for fewer drives, down to k = 1; its shards go to the first of the
// ranking. If only one of at most m+1 drives is left, it takes one shard: any m drives may die and writes go on, and
// there is no other drive that could hold a second one. Repair adds it as soon as there is.
func assignNarrow(m *placement.Map, usable []target, unusable int) (assignment, error) {
	a := assignment{code: erasure.Params{K: max(1, len(usable)-m.M), M: m.M}}
	a.need = quorum(a.code)
	if len(usable) == 1 && unusable <= m.M {
		a.need = 1
	}
	if len(usable) < a.need {
		return a, fmt.Errorf("%w: %d of %d, a code of %d parity shards needs %d", ErrTooFewDrives, len(usable), len(usable)+unusable, m.M, a.need)
	}
	n := min(a.code.Shards(), len(usable))
	a.targets, a.spares = usable[:n], usable[n:]
	return a, nil
}

// spares are the healthy drives, in the partition's order, that have no shard of the chunk.
func (s *Store) spares(m *placement.Map, partition uint32, taken []target, exclude []placement.DriveID) []target {
	now := time.Now()
	var spares []target
	for _, id := range m.Ranking(partition) {
		if slices.ContainsFunc(taken, func(t target) bool { return t.health.id == id }) {
			continue
		}
		if v := s.judgeForWrite(id, now, exclude); v.state == healthy {
			spares = append(spares, v.target)
		}
	}
	return spares
}

// countAssignment keeps the books of how chunks are placed.
func (s *Store) countAssignment(m *placement.Map, a *assignment) {
	if a.code.Shards() < m.Slots() {
		s.metrics.narrowChunks.Inc()
	}
	s.metrics.substitutes.Add(float64(a.stoodIn))
}
