package placement

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Change is one step from a map to the next: AddDrive, ReplaceDrive, MoveDrive,
// SetState, SetWeight or RemoveDrive.
type Change interface {
	apply(*draft) error
}

// AddDrive makes a drive a member.
type AddDrive struct{ Drive Drive }

// ReplaceDrive puts a new drive in the place of a lost one, which leaves the
// cluster: the new one gets exactly its slots, and nothing else moves.
type ReplaceDrive struct {
	Old DriveID
	New Drive
}

// MoveDrive says that a drive is at another node or in another zone than before.
type MoveDrive struct {
	ID         DriveID
	Node, Zone string
}

// SetState changes what a drive is good for.
type SetState struct {
	ID    DriveID
	State State
}

// SetWeight changes a drive's share.
type SetWeight struct {
	ID     DriveID
	Weight uint32
}

// RemoveDrive ends a membership. What only this drive holds is lost: drain it before.
type RemoveDrive struct{ ID DriveID }

// Birth makes the first map of a cluster.
func Birth(cluster ClusterID, partitions, k, m int, drives []Drive) (*Map, error) {
	first := &Map{Cluster: cluster, Partitions: partitions, K: k, M: m}
	if partitions < 1 || partitions > MaxPartitions || k < 1 || m < 0 || k > MaxSlots || m > MaxSlots || k+m > MaxSlots {
		return nil, fmt.Errorf("%w: %d partitions, code %d+%d", ErrInvalidMap, partitions, k, m)
	}
	if !slices.ContainsFunc(drives, Drive.TakesShards) {
		return nil, ErrNoDrives
	}
	first.Ring = slices.Repeat([]byte{0xff}, partitions*(k+m)*2)
	changes := make([]Change, len(drives))
	for i, d := range drives {
		changes[i] = AddDrive{d}
	}
	born, err := first.With(changes...)
	if err != nil {
		return nil, err
	}
	born.Prior = nil // there is nothing yet that could move
	return born, nil
}

// With returns the next map, after all of the changes. Every partition whose homes
// are other than before is in transition until Complete names it; one that was in
// transition already keeps the homes it had at first.
func (m *Map) With(changes ...Change) (*Map, error) {
	d := m.draft()
	for _, c := range changes {
		if err := c.apply(d); err != nil {
			return nil, err
		}
	}
	if len(d.drives) > MaxDrives {
		return nil, fmt.Errorf("%w: %d drives", ErrInvalidMap, len(d.drives))
	}
	if d.unbalanced {
		homes, err := solve(m.Cluster, m.Slots(), d.drives, d.homes)
		if err != nil {
			return nil, err
		}
		d.homes = homes
	}
	return d.finish(m), nil
}

// Complete returns the next map with the transitions of these partitions closed;
// m itself if none of them was open.
func (m *Map) Complete(partitions []uint32) *Map {
	d := m.draft()
	changed := false
	for _, p := range partitions {
		if m.Previous(p) != nil {
			d.prior[p] = nil
			changed = true
		}
	}
	if !changed {
		return m
	}
	d.before = d.homes // no new transition begins
	return d.finish(m)
}

// draft is a map under change, with ids in the place of indexes.
type draft struct {
	drives     []Drive
	homes      [][]DriveID // by partition
	before     [][]DriveID // homes at the start of the change
	prior      [][]DriveID // nil where no transition is open
	unbalanced bool        // the ring must be solved anew
}

func (m *Map) draft() *draft {
	d := &draft{drives: slices.Clone(m.Drives)}
	for p := range uint32(m.Partitions) {
		d.homes = append(d.homes, slices.Clone(m.Homes(p)))
		d.before = append(d.before, m.Homes(p))
		d.prior = append(d.prior, slices.Clone(m.Previous(p)))
	}
	return d
}

func (d *draft) find(id DriveID) (*Drive, error) {
	for i := range d.drives {
		if d.drives[i].ID == id {
			return &d.drives[i], nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownDrive, id)
}

func (c AddDrive) apply(d *draft) error {
	if c.Drive.ID.IsZero() || c.Drive.State > Out {
		return fmt.Errorf("%w: drive %s, %s", ErrInvalidMap, c.Drive.ID, c.Drive.State)
	}
	if _, err := d.find(c.Drive.ID); err == nil {
		return fmt.Errorf("%w: %s", ErrDuplicateDrive, c.Drive.ID)
	}
	d.drives = append(d.drives, c.Drive)
	d.unbalanced = d.unbalanced || c.Drive.TakesShards()
	return nil
}

func (c RemoveDrive) apply(d *draft) error {
	drive, err := d.find(c.ID)
	if err != nil {
		return err
	}
	d.unbalanced = d.unbalanced || drive.TakesShards()
	d.drives = slices.DeleteFunc(d.drives, func(x Drive) bool { return x.ID == c.ID })
	return nil
}

func (c MoveDrive) apply(d *draft) error {
	drive, err := d.find(c.ID)
	if err != nil {
		return err
	}
	to := nodeName{c.Zone, c.Node}
	d.unbalanced = d.unbalanced || drive.TakesShards() && drive.nodeName() != to
	drive.Node, drive.Zone = c.Node, c.Zone
	return nil
}

func (c SetState) apply(d *draft) error {
	drive, err := d.find(c.ID)
	if err != nil {
		return err
	}
	if c.State > Out {
		return fmt.Errorf("%w: %s", ErrInvalidMap, c.State)
	}
	took := drive.TakesShards()
	drive.State = c.State
	d.unbalanced = d.unbalanced || took != drive.TakesShards()
	return nil
}

func (c SetWeight) apply(d *draft) error {
	drive, err := d.find(c.ID)
	if err != nil {
		return err
	}
	d.unbalanced = d.unbalanced || drive.State == Up && drive.Weight != c.Weight
	drive.Weight = c.Weight
	return nil
}

func (c ReplaceDrive) apply(d *draft) error {
	old, err := d.find(c.Old)
	if err != nil {
		return err
	}
	if old.TakesShards() != c.New.TakesShards() {
		d.unbalanced = true
	}
	if err := (AddDrive{c.New}).apply(&draft{drives: d.drives}); err != nil {
		return err
	}
	*old = c.New
	for _, row := range d.homes {
		if i := slices.Index(row, c.Old); i >= 0 {
			row[i] = c.New.ID
		}
	}
	return nil
}

// finish turns the draft into the map after m.
func (d *draft) finish(m *Map) *Map {
	slices.SortFunc(d.drives, func(a, b Drive) int { return compareIDs(a.ID, b.ID) })
	next := &Map{
		Cluster: m.Cluster, Epoch: m.Epoch + 1, Partitions: m.Partitions, K: m.K, M: m.M, Drives: d.drives,
	}
	index := make(map[DriveID]uint16, len(d.drives))
	for i, drive := range d.drives {
		index[drive.ID] = uint16(i)
	}
	next.Ring = appendRing(nil, index, m.Slots(), d.homes)
	open := false
	for p := range d.prior {
		d.prior[p] = transition(d.prior[p], d.before[p], d.homes[p], index)
		open = open || d.prior[p] != nil
	}
	if open {
		next.Prior = appendRing(nil, index, m.Slots(), d.prior)
	}
	return next
}

// transition returns the homes a partition moves away from: those of the
// transition that is open already, or the ones before this change if it moved
// any. A drive that leaves the cluster makes way for the home that followed it,
// if that moves on; else its slot becomes vacant.
func transition(prior, before, homes []DriveID, members map[DriveID]uint16) []DriveID {
	if prior == nil && slices.Equal(before, homes) {
		return nil
	}
	if prior == nil {
		prior = slices.Clone(before)
	}
	for i, id := range prior {
		if _, member := members[id]; member || id.IsZero() {
			continue
		}
		prior[i] = DriveID{}
		if _, member := members[before[i]]; member && before[i] != homes[i] {
			prior[i] = before[i]
		}
	}
	return unique(prior)
}

// unique blanks what a row holds twice: drives that changed slots between two changes.
func unique(row []DriveID) []DriveID {
	for i := range row {
		if slices.Contains(row[:i], row[i]) {
			row[i] = DriveID{}
		}
	}
	return row
}

func appendRing(ring []byte, index map[DriveID]uint16, slots int, rows [][]DriveID) []byte {
	for _, row := range rows {
		for i := range slots {
			d := uint16(vacant)
			if i < len(row) {
				if at, ok := index[row[i]]; ok {
					d = at
				}
			}
			ring = binary.BigEndian.AppendUint16(ring, d)
		}
	}
	return ring
}

// Move says that a slot changes its home; From or To is zero if it was or becomes vacant.
type Move struct {
	Slot
	From, To DriveID
}

// Moves are in the order of partitions and slots.
type Moves []Move

// Plan says which slots have other homes in the new map than in the old.
func Plan(old, new *Map) Moves {
	var moves Moves
	for p := range uint32(min(old.Partitions, new.Partitions)) {
		from, to := old.Homes(p), new.Homes(p)
		for i := range min(len(from), len(to)) {
			if from[i] != to[i] {
				moves = append(moves, Move{Slot{p, uint8(i)}, from[i], to[i]})
			}
		}
	}
	return moves
}
