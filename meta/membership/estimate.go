package membership

import (
	"bytes"
	"slices"

	"kintsugi/placement"
)

// DriveMovement is what a change of the map means for one drive.
type DriveMovement struct {
	Drive    placement.DriveID
	Node     string
	SlotsIn  int
	SlotsOut int
	BytesIn  uint64
	BytesOut uint64
}

// Movement is what a change of the map moves.
type Movement struct {
	Slots  int
	Bound  int // slots that any way to the same shares would move
	Bytes  uint64
	Drives []DriveMovement // those with something to do, in the order of their ids
}

// Estimate tells what the change from old to next moves. live is what each drive holds now, in bytes: a slot counts
// as its drive's share of that.
func Estimate(old, next *placement.Map, live map[placement.DriveID]uint64) Movement {
	perSlot, usual := bytesPerSlot(old, live)
	by := map[placement.DriveID]*DriveMovement{}
	of := func(id placement.DriveID) *DriveMovement {
		if by[id] == nil {
			d, ok := next.Drive(id)
			if !ok {
				d, _ = old.Drive(id)
			}
			by[id] = &DriveMovement{Drive: id, Node: d.Node}
		}
		return by[id]
	}
	var sum Movement
	for _, move := range placement.Plan(old, next) {
		size, ok := perSlot[move.From]
		if !ok {
			size = usual
		}
		if !move.From.IsZero() {
			from := of(move.From)
			from.SlotsOut++
			from.BytesOut += size
		}
		if !move.To.IsZero() {
			to := of(move.To)
			to.SlotsIn++
			to.BytesIn += size
			sum.Slots++
			sum.Bytes += size
		}
	}
	for _, move := range by {
		sum.Drives = append(sum.Drives, *move)
		sum.Bound += max(0, move.SlotsIn-move.SlotsOut)
	}
	slices.SortFunc(sum.Drives, func(a, b DriveMovement) int { return bytes.Compare(a.Drive[:], b.Drive[:]) })
	return sum
}

// bytesPerSlot returns the size of a slot of each drive that has some, and of one anywhere.
func bytesPerSlot(m *placement.Map, live map[placement.DriveID]uint64) (perSlot map[placement.DriveID]uint64, usual uint64) {
	perSlot = map[placement.DriveID]uint64{}
	var size, slots uint64
	for _, d := range m.Drives {
		n := uint64(len(m.SlotsOf(d.ID)))
		reported, ok := live[d.ID]
		if n == 0 || !ok {
			continue
		}
		perSlot[d.ID] = reported / n
		size, slots = size+reported, slots+n
	}
	if slots > 0 {
		usual = size / slots
	}
	return perSlot, usual
}
