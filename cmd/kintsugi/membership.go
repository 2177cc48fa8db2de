package main

import (
	"slices"
	"time"

	"kintsugi/placement"
)

// presence is what this process knows of the drives when it decides on the map.
type presence struct {
	open   map[placement.DriveID]bool      // drives that are in their bay and work
	newest []placement.DriveID             // open drives that the map does not know
	gone   map[placement.DriveID]time.Time // members that are not open, since when
}

// nextChanges returns what the map should learn. A drive that the map does not know takes the place of
// a lost one, if there is one: nothing else moves then. A drive that is gone for longer than outAfter is
// given up, provided that enough others are left to rebuild all its shards on.
func nextChanges(m *placement.Map, p presence, now time.Time, outAfter time.Duration) []placement.Change {
	var changes []placement.Change
	lost, out := lostDrives(m, p)
	for _, id := range p.newest {
		fresh := placement.Drive{ID: id, Node: localNode, Weight: defaultWeight}
		if len(lost) > 0 {
			changes = append(changes, placement.ReplaceDrive{Old: lost[0], New: fresh})
			lost = lost[1:]
			continue
		}
		if len(out) > 0 {
			changes = append(changes, placement.RemoveDrive{ID: out[0]})
			out = out[1:]
		}
		changes = append(changes, placement.AddDrive{Drive: fresh})
	}
	left := len(p.open)
	for _, d := range m.Drives {
		switch since := p.gone[d.ID]; {
		case p.open[d.ID] && d.State == placement.Out:
			changes = append(changes, placement.SetState{ID: d.ID, State: placement.Up})
		case p.open[d.ID] || d.State == placement.Out || since.IsZero():
		case now.Sub(since) > outAfter && left >= m.Slots() && slices.Contains(lost, d.ID):
			changes = append(changes, placement.SetState{ID: d.ID, State: placement.Out})
		}
	}
	return changes
}

// lostDrives are the members without an open drive: those that still have slots, and those given up.
func lostDrives(m *placement.Map, p presence) (lost, out []placement.DriveID) {
	for _, d := range m.Drives {
		switch {
		case p.open[d.ID]:
		case d.State == placement.Out:
			out = append(out, d.ID)
		default:
			lost = append(lost, d.ID)
		}
	}
	return lost, out
}

const (
	localNode     = "local" // the node of all drives of one process
	defaultWeight = 100
)
