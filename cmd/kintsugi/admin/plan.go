package admin

import (
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"

	"kintsugi/meta/membership"
	"kintsugi/placement"
)

// Plan says what a change moves.
type Plan struct {
	Format     int         `json:"format"`
	Change     Change      `json:"change"`
	Applied    bool        `json:"applied"`
	Epoch      uint64      `json:"epoch"`      // of the map that is changed
	Ring       string      `json:"ring"`       // hash of the ring that comes of it: the plan's and the change's are the same
	Slots      int         `json:"slots"`      // of the whole ring
	Moves      int         `json:"moves"`      // slots that get another home
	LowerBound int         `json:"lowerBound"` // of them, for any ring with the same shares
	Bytes      uint64      `json:"bytes"`      // that the new homes get, estimated by what the drives hold now
	Drives     []PlanDrive `json:"drives"`     // those that are concerned
	Notes      []string    `json:"notes,omitempty"`
}

// PlanDrive is what a plan means to one drive.
type PlanDrive struct {
	ID       string `json:"id"`
	Node     string `json:"node"`
	New      bool   `json:"new,omitempty"` // it is not in the map before
	Before   int    `json:"slotsBefore"`
	After    int    `json:"slotsAfter"`
	In       int    `json:"slotsIn"`
	Out      int    `json:"slotsOut"`
	BytesIn  uint64 `json:"bytesIn"`
	BytesOut uint64 `json:"bytesOut"`
}

// MakePlan says what the step from the map of f to the next one moves. It is pure.
func MakePlan(f *Facts, c Change, next *placement.Map) Plan {
	old := f.Map
	p := Plan{
		Format: Format, Change: c, Epoch: old.Epoch, Ring: ringHash(next), Slots: next.Partitions * next.Slots(), Drives: []PlanDrive{},
	}
	before, _ := slotCounts(old)
	after, _ := slotCounts(next)
	movement := membership.Estimate(old, next, f.live())
	p.Moves, p.LowerBound, p.Bytes = movement.Slots, movement.Bound, movement.Bytes
	for _, d := range movement.Drives {
		_, known := old.Drive(d.Drive)
		p.Drives = append(p.Drives, PlanDrive{
			ID: d.Drive.String(), Node: d.Node, New: !known, Before: before[d.Drive], After: after[d.Drive],
			In: d.SlotsIn, Out: d.SlotsOut, BytesIn: d.BytesIn, BytesOut: d.BytesOut,
		})
	}
	slices.SortStableFunc(p.Drives, func(a, b PlanDrive) int { return compareNames(a.Node, b.Node) })
	p.Notes = f.notes(next, movement)
	return p
}

// live is what each drive holds, in bytes.
func (f *Facts) live() map[placement.DriveID]uint64 {
	live := map[placement.DriveID]uint64{}
	for _, d := range f.drives() {
		if d.inMap && d.member != nil {
			live[d.ID] = d.report.Live
		}
	}
	return live
}

func ringHash(m *placement.Map) string { return fmt.Sprintf("%016x", xxh3.Hash(m.Ring)) }

// notes say what the change means beyond what moves.
func (f *Facts) notes(next *placement.Map, movement membership.Movement) []string {
	var all []string
	was, will := nodesThatMayDie(f.Map), nodesThatMayDie(next)
	if will < was {
		all = append(all, fmt.Sprintf("afterwards the data can be read without any %s, before it were %d", count(will, "node"), was))
	}
	if open := len(f.Map.Open()); open > 0 {
		all = append(all, fmt.Sprintf("%s still moving from an earlier change", count(open, "partition")))
	}
	room := map[placement.DriveID]uint64{}
	for _, d := range f.drives() {
		if d.live() {
			room[d.ID] = d.report.Free
		}
	}
	for _, d := range movement.Drives {
		if free, known := room[d.Drive]; known && d.BytesIn > free {
			all = append(all, fmt.Sprintf("drive %s of %s gets %s and has %s free: add drives first", shortID(d.Drive), d.Node, Size(d.BytesIn), Size(free)))
		}
	}
	return all
}

// nodesThatMayDie is the number of nodes, whichever they are, without which every partition still has k homes.
func nodesThatMayDie(m *placement.Map) int {
	least := len(m.Drives)
	for p := range uint32(m.Partitions) {
		on := map[[2]string]int{}
		for _, id := range m.Homes(p) {
			if d, ok := m.Drive(id); ok {
				on[[2]string{d.Zone, d.Node}]++
			}
		}
		var held []int
		homes := 0
		for _, n := range on {
			held = append(held, n)
			homes += n
		}
		slices.SortFunc(held, func(a, b int) int { return b - a })
		spare, dead := homes-m.K, 0
		for _, n := range held {
			if spare -= n; spare < 0 {
				break
			}
			dead++
		}
		least = min(least, dead)
	}
	return least
}
