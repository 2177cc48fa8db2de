package membership

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"kintsugi/placement"
)

// Errors of an operator's changes. Their text says what to do.
var (
	ErrUnknownTarget = errors.New("no such node or drive")
	ErrTooFewDrives  = errors.New("too few drives would be left")
	ErrNotDrained    = errors.New("not drained")
	ErrWouldLose     = errors.New("data would be lost")
)

// Select returns the drives that target names: those of a node, or one by its id or the first 6 or more digits of it.
func Select(m *placement.Map, target string) ([]placement.DriveID, error) {
	var ofNode, byID []placement.DriveID
	for _, d := range m.Drives {
		if d.Node == target {
			ofNode = append(ofNode, d.ID)
		}
		if len(target) >= 6 && strings.HasPrefix(d.ID.String(), strings.ToLower(target)) {
			byID = append(byID, d.ID)
		}
	}
	switch {
	case len(ofNode) > 0:
		return ofNode, nil
	case len(byID) == 1:
		return byID, nil
	case len(byID) > 1:
		return nil, fmt.Errorf("%w: %q begins the ids of %d drives", ErrUnknownTarget, target, len(byID))
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownTarget, target)
}

// find returns the drive that an operator means.
func find(m *placement.Map, id placement.DriveID) (placement.Drive, error) {
	d, ok := m.Drive(id)
	if !ok {
		return d, fmt.Errorf("%w: drive %s", ErrUnknownTarget, id)
	}
	return d, nil
}

// Drain returns the map with which the drives' homes move elsewhere; m itself if that is so already.
func Drain(m *placement.Map, ids []placement.DriveID) (*placement.Map, error) {
	var changes []placement.Change
	for _, id := range ids {
		d, err := find(m, id)
		if err != nil {
			return nil, err
		}
		if d.State == placement.Up {
			changes = append(changes, placement.SetState{ID: id, State: placement.Draining})
		}
	}
	if err := enoughLeft(m, ids); err != nil {
		return nil, err
	}
	return apply(m, changes)
}

// Undrain takes a Drain back, and a Remove.
func Undrain(m *placement.Map, ids []placement.DriveID) (*placement.Map, error) {
	var changes []placement.Change
	for _, id := range ids {
		d, err := find(m, id)
		if err != nil {
			return nil, err
		}
		if d.State == placement.Draining || removed(d) {
			changes = append(changes, placement.SetState{ID: id, State: placement.Up})
		}
		if d.Weight == 0 && removed(d) {
			changes = append(changes, placement.SetWeight{ID: id, Weight: DefaultWeight})
		}
	}
	return apply(m, changes)
}

// Remove returns the map in which the drives are removed for ever: given up, and not taken back by themselves. They must be
// drained, or given up and rebuilt elsewhere. With lost (a node that does not come back) they may still have slots, as long
// as every partition keeps enough others to rebuild from.
func Remove(m *placement.Map, ids []placement.DriveID, lost bool) (*placement.Map, error) {
	if err := enoughLeft(m, ids); err != nil {
		return nil, err
	}
	var changes []placement.Change
	for _, id := range ids {
		d, err := find(m, id)
		if err != nil {
			return nil, err
		}
		switch {
		case removed(d):
			continue
		case !lost && !Drained(m, id):
			return nil, fmt.Errorf("%w: drive %s of %s is needed by %d partitions: drain it first and wait until that is done",
				ErrNotDrained, id, d.Node, needs(m, id))
		}
		changes = append(changes, placement.SetState{ID: id, State: placement.Out}, placement.SetWeight{ID: id, Weight: 0})
	}
	if p, n := mostNeeded(m, ids); lost && n > m.M {
		return nil, fmt.Errorf("%w: partition %d has %d of its %d shards on these drives and bears the loss of %d: bring one back, or wait until others are rebuilt",
			ErrWouldLose, p, n, m.Slots(), m.M)
	}
	return apply(m, changes)
}

// Weigh returns the map in which a drive has another share of the shards.
func Weigh(m *placement.Map, id placement.DriveID, weight uint32) (*placement.Map, error) {
	d, err := find(m, id)
	if err != nil {
		return nil, err
	}
	switch {
	case d.State == placement.Out:
		return nil, fmt.Errorf("drive %s is out: bring it back first", id)
	case d.Weight == weight:
		return m, nil
	case weight == 0:
		if err := enoughLeft(m, []placement.DriveID{id}); err != nil {
			return nil, err
		}
	}
	return apply(m, []placement.Change{placement.SetWeight{ID: id, Weight: weight}})
}

// Drained tells whether nothing needs the drive: it has no slot, and no partition moves away from it.
func Drained(m *placement.Map, id placement.DriveID) bool {
	d, ok := m.Drive(id)
	return ok && !d.TakesShards() && needs(m, id) == 0
}

// needs counts the partitions that have the drive as a home, or had it before their transition.
func needs(m *placement.Map, id placement.DriveID) int {
	n := 0
	for p := range uint32(m.Partitions) {
		if slices.Contains(m.Homes(p), id) || slices.Contains(m.Previous(p), id) {
			n++
		}
	}
	return n
}

// mostNeeded returns the partition that has most of its shards on the drives, and how many. While it is in
// transition the shards are at the homes before it.
func mostNeeded(m *placement.Map, ids []placement.DriveID) (partition uint32, most int) {
	for p := range uint32(m.Partitions) {
		row := m.Previous(p)
		if row == nil {
			row = m.Homes(p)
		}
		n := 0
		for _, id := range row {
			if slices.Contains(ids, id) {
				n++
			}
		}
		if n > most {
			partition, most = p, n
		}
	}
	return partition, most
}

// enoughLeft refuses what would leave a partition without a home for each shard.
func enoughLeft(m *placement.Map, without []placement.DriveID) error {
	left, taken := 0, 0
	for _, d := range m.Drives {
		switch {
		case !d.TakesShards():
		case slices.Contains(without, d.ID):
			taken++
		default:
			left++
		}
	}
	if taken > 0 && left < m.Slots() {
		return fmt.Errorf("%w: %d, but %d+%d needs %d: add drives first", ErrTooFewDrives, left, m.K, m.M, m.Slots())
	}
	return nil
}

func apply(m *placement.Map, changes []placement.Change) (*placement.Map, error) {
	if len(changes) == 0 {
		return m, nil
	}
	return m.With(changes...)
}
