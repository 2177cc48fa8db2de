package membership

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"kintsugi/placement"
)

// DefaultWeight is that of a drive that nobody gave another.
const DefaultWeight = 100

// Policy says when the map changes by itself.
type Policy struct {
	// OutAfter is how long a drive may be away before its slots go to others; 0 means 5 min. Where no redundancy is left,
	// it is given up as soon as it can write no more.
	OutAfter time.Duration
	// Quiet is how long nothing new must have come before the map learns of it, so that nodes that start together make
	// one epoch; 0 means 500 ms.
	Quiet time.Duration
	// KeepDeleted is how old garbage must be before it is removed; 0 means 30 s. It is never less than what a gateway that was cut off
	// may still read.
	KeepDeleted time.Duration
}

func (p Policy) withDefaults() Policy {
	p.OutAfter = cmp.Or(p.OutAfter, 5*time.Minute)
	p.Quiet = cmp.Or(p.Quiet, 500*time.Millisecond)
	p.KeepDeleted = cmp.Or(p.KeepDeleted, 30*time.Second)
	return p
}

// NextChanges returns what the map should learn from the table now: drives that came, moved, came back or stay away.
func NextChanges(m *placement.Map, t *Table, now time.Time, p Policy) []placement.Change {
	p = p.withDefaults()
	var changes []placement.Change
	if now.Sub(t.news) >= p.Quiet {
		changes = arrivals(m, t, now)
	}
	return append(changes, departures(m, t, now, p, changes)...)
}

// arrivals are drives that the map does not know or has elsewhere or as given up. What the operator removed stays so.
func arrivals(m *placement.Map, t *Table, now time.Time) []placement.Change {
	var changes []placement.Change
	for _, d := range m.Drives {
		e := t.nodes[t.holders[d.ID]]
		if e == nil || !e.up {
			continue
		}
		if d.Node != e.node.Name || d.Zone != e.node.Zone {
			changes = append(changes, placement.MoveDrive{ID: d.ID, Node: e.node.Name, Zone: e.node.Zone})
		}
		if d.State == placement.Out && !removed(d) {
			changes = append(changes, placement.SetState{ID: d.ID, State: placement.Up})
		}
	}
	for _, name := range t.names() {
		if e := t.nodes[name]; e.up {
			changes = append(changes, freshDrives(m, t, e, now)...)
		}
	}
	return changes
}

// removed tells whether the operator removed the drive: it does not come back by itself.
func removed(d placement.Drive) bool { return d.State == placement.Out && d.Weight == 0 }

// freshDrives adds the drives of a node that the map does not know. Each takes the place of one that the node has
// lost, if there is one: nothing else moves then.
func freshDrives(m *placement.Map, t *Table, e *member, now time.Time) []placement.Change {
	var fresh []DriveReport
	for _, r := range e.drives {
		if _, known := m.Drive(r.ID); !known {
			fresh = append(fresh, r)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	lost := lostDrives(m, t, e.node.Name)
	if len(lost) > 0 && (!e.beaten || now.Sub(e.since) < t.timing.Lease) {
		return nil // it may still be opening them
	}
	slices.SortFunc(fresh, func(a, b DriveReport) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	var changes []placement.Change
	for _, r := range fresh {
		d := placement.Drive{ID: r.ID, Node: e.node.Name, Zone: e.node.Zone, Weight: DefaultWeight}
		if len(lost) == 0 {
			changes = append(changes, placement.AddDrive{Drive: d})
			continue
		}
		old := lost[0]
		lost = lost[1:]
		d.Weight = old.Weight
		if old.State == placement.Out { // its slots have gone already
			changes = append(changes, placement.RemoveDrive{ID: old.ID}, placement.AddDrive{Drive: d})
			continue
		}
		d.State = old.State // a node that is drained stays so
		changes = append(changes, placement.ReplaceDrive{Old: old.ID, New: d})
	}
	return changes
}

// lostDrives are those that the map has at the node and nobody has: first those that still have slots.
func lostDrives(m *placement.Map, t *Table, node string) []placement.Drive {
	var lost []placement.Drive
	for _, d := range m.Drives {
		if d.Node == node && t.holders[d.ID] == "" && !removed(d) {
			lost = append(lost, d)
		}
	}
	slices.SortStableFunc(lost, func(a, b placement.Drive) int { return cmp.Compare(a.State, b.State) })
	return lost
}

// departures gives up drives that stay away, provided that enough others are there to rebuild their shards on. Those
// that would follow within a moment go together, for each change moves shards.
func departures(m *placement.Map, t *Table, now time.Time, p Policy, coming []placement.Change) []placement.Change {
	missing := missingDrives(m, t, coming)
	if len(missing) == 0 || takersLeft(m, t, coming) < m.Slots() {
		return nil
	}
	exposed := m.M >= 1 && mostLost(m, missing) >= m.M
	var changes []placement.Change
	due := false
	for _, d := range m.Drives {
		if !slices.Contains(missing, d.ID) {
			continue
		}
		wait := t.outIn(now, d.ID, p, exposed)
		if wait > p.Quiet {
			continue
		}
		due = due || wait <= 0
		changes = append(changes, placement.SetState{ID: d.ID, State: placement.Out})
	}
	if !due {
		return nil
	}
	return changes
}

// missingDrives take shards by the map and are not there, nor replaced just now.
func missingDrives(m *placement.Map, t *Table, coming []placement.Change) []placement.DriveID {
	var missing []placement.DriveID
	for _, d := range m.Drives {
		if d.TakesShards() && !t.Present(d.ID) && !t.gone[d.ID].IsZero() && !replaced(coming, d.ID) {
			missing = append(missing, d.ID)
		}
	}
	return missing
}

func replaced(coming []placement.Change, id placement.DriveID) bool {
	return slices.ContainsFunc(coming, func(c placement.Change) bool {
		r, ok := c.(placement.ReplaceDrive)
		return ok && r.Old == id
	})
}

// takersLeft counts the drives that are there and take shards after the changes.
func takersLeft(m *placement.Map, t *Table, coming []placement.Change) int {
	n := 0
	for _, d := range m.Drives {
		if d.TakesShards() && t.Present(d.ID) {
			n++
		}
	}
	for _, c := range coming {
		switch c := c.(type) {
		case placement.AddDrive:
			n++
		case placement.ReplaceDrive:
			if c.New.TakesShards() {
				n++
			}
		case placement.SetState:
			if d, _ := m.Drive(c.ID); c.State == placement.Up && !d.TakesShards() {
				n++
			}
		}
	}
	return n
}

// mostLost is the largest number of homes that one partition has lost.
func mostLost(m *placement.Map, missing []placement.DriveID) int {
	lost := make([]int, m.Partitions)
	most := 0
	for _, id := range missing {
		for _, s := range m.SlotsOf(id) {
			lost[s.Partition]++
			most = max(most, lost[s.Partition])
		}
	}
	return most
}

// outIn tells how long it is until the drive is given up. A drive that this coordinator never saw may still be
// starting, and one that came back lately will do so again: neither is given up at once.
func (t *Table) outIn(now time.Time, id placement.DriveID, p Policy, exposed bool) time.Duration {
	away := now.Sub(t.gone[id])
	wait, calm := t.patience(now, id, p.OutAfter)
	if exposed && calm && t.seen[id] {
		wait = min(wait, t.timing.Lease)
	}
	wait -= away
	if e := t.nodes[t.holders[id]]; e != nil {
		wait = max(wait, t.timing.Grant-now.Sub(e.heard))
	}
	return wait
}

func (t *Table) names() []string {
	names := make([]string, 0, len(t.nodes))
	for name := range t.nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
