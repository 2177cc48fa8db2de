package placement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/zeebo/xxh3"
)

// Limits of a map: a drive's number is 16 bits, of which the highest means a vacant slot.
const (
	MaxDrives     = 65_000
	MaxPartitions = 1 << 16
	MaxSlots      = 64 // k+m
)

// Errors are matched with errors.Is.
var (
	ErrUnknownDrive   = errors.New("no such drive in the cluster map")
	ErrDuplicateDrive = errors.New("drive is in the cluster map already")
	ErrNoDrives       = errors.New("no drive takes shards")
	ErrInvalidMap     = errors.New("invalid cluster map")
)

// State says what a drive is good for. The zero value is Up.
type State uint8

const (
	Up       State = iota // has homes and takes writes
	Draining              // is read, takes no writes, its homes move away
	Out                   // given up: neither
)

func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Draining:
		return "draining"
	case Out:
		return "out"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Drive is a member of the cluster.
type Drive struct {
	ID     DriveID `cbor:"1,keyasint"`
	Node   string  `cbor:"2,keyasint,omitempty"` // unique within its zone
	Zone   string  `cbor:"3,keyasint,omitempty"`
	Weight uint32  `cbor:"4,keyasint"` // its share of the shards, in any unit; 0: none
	State  State   `cbor:"5,keyasint,omitempty"`
}

// TakesShards tells whether the drive may be a home or a substitute.
func (d Drive) TakesShards() bool { return d.State == Up && d.Weight > 0 }

// Map is the cluster map: who is in the cluster, and which drive is home to
// which slot of which partition. A value is never changed: the functions that
// change it return the next one, with the epoch after its own. Only the exported fields
// are stored; who reads one from outside calls Validate before using it.
type Map struct {
	Cluster    ClusterID `cbor:"1,keyasint"`
	Epoch      uint64    `cbor:"2,keyasint"` // grows by one with every change; the first is 1
	Partitions int       `cbor:"3,keyasint"` // fixed at birth
	K          int       `cbor:"4,keyasint"` // the default code of the cluster
	M          int       `cbor:"5,keyasint"`
	Drives     []Drive   `cbor:"6,keyasint"` // in the order of their ids

	// Ring holds, for each partition, K+M indexes into Drives as big-endian
	// 16-bit numbers, 0xffff where the slot is vacant. Slot i is home to shard i.
	Ring []byte `cbor:"7,keyasint"`
	// Prior has the form of Ring and holds the homes that partitions had before
	// their open transition; all slots of the others are vacant. Empty if no transition is open.
	Prior []byte `cbor:"8,keyasint,omitempty"`

	tables atomic.Pointer[tables] // derived, made at first use
}

const vacant = 0xffff

// tables are what the ring says, spelled out so that a look-up costs nothing.
type tables struct {
	homes    []DriveID // Partitions * slots
	previous []DriveID // the same, or nil
	open     []bool    // by partition; nil if previous is
	drives   map[DriveID]int
}

// Slots is the number of slots of a partition, k+m.
func (m *Map) Slots() int { return m.K + m.M }

// Partition is the hash bucket of a chunk.
func (m *Map) Partition(blob BlobID, chunk uint32) uint32 {
	var b [20]byte
	copy(b[:], blob[:])
	binary.BigEndian.PutUint32(b[16:], chunk)
	p, _ := bits.Mul64(xxh3.Hash(b[:]), uint64(m.Partitions))
	return uint32(p)
}

// Homes are the drives that keep the shards of a partition: slot i keeps shard i. A
// zero id is a vacant slot; vacant slots come last. The caller must not change the slice.
func (m *Map) Homes(partition uint32) []DriveID {
	return m.row(m.derive().homes, partition)
}

// Previous are the homes before the partition's open transition, nil if none is
// open. The caller must not change the slice.
func (m *Map) Previous(partition uint32) []DriveID {
	t := m.derive()
	if int64(partition) >= int64(len(t.open)) || !t.open[partition] {
		return nil
	}
	return m.row(t.previous, partition)
}

func (m *Map) row(table []DriveID, partition uint32) []DriveID {
	n := m.Slots()
	if int64(partition) >= int64(m.Partitions) || (int(partition)+1)*n > len(table) {
		return nil
	}
	return table[int(partition)*n : (int(partition)+1)*n : (int(partition)+1)*n]
}

// Drive returns the member with this id.
func (m *Map) Drive(id DriveID) (Drive, bool) {
	i, ok := m.derive().drives[id]
	if !ok {
		return Drive{}, false
	}
	return m.Drives[i], true
}

// Slot names one place in the ring.
type Slot struct {
	Partition uint32
	Index     uint8
}

// SlotsOf lists the slots whose home is the drive, by partition.
func (m *Map) SlotsOf(id DriveID) []Slot {
	var slots []Slot
	n := m.Slots()
	for i, home := range m.derive().homes {
		if home == id && !id.IsZero() {
			slots = append(slots, Slot{Partition: uint32(i / n), Index: uint8(i % n)})
		}
	}
	return slots
}

// Open lists the partitions with an open transition, in order.
func (m *Map) Open() []uint32 {
	var open []uint32
	for p, is := range m.derive().open {
		if is {
			open = append(open, uint32(p))
		}
	}
	return open
}

// Validate tells whether the map is one that this package could have made.
func (m *Map) Validate() error {
	switch {
	case m.Epoch == 0:
		return fmt.Errorf("%w: no epoch", ErrInvalidMap)
	case m.Partitions < 1 || m.Partitions > MaxPartitions:
		return fmt.Errorf("%w: %d partitions", ErrInvalidMap, m.Partitions)
	case m.K < 1 || m.M < 0 || m.K > MaxSlots || m.M > MaxSlots || m.Slots() > MaxSlots:
		return fmt.Errorf("%w: code %d+%d", ErrInvalidMap, m.K, m.M)
	case len(m.Drives) < 1 || len(m.Drives) > MaxDrives:
		return fmt.Errorf("%w: %d drives", ErrInvalidMap, len(m.Drives))
	}
	for i, d := range m.Drives {
		if d.ID.IsZero() || d.State > Out || i > 0 && compareIDs(m.Drives[i-1].ID, d.ID) >= 0 {
			return fmt.Errorf("%w: drive %d", ErrInvalidMap, i)
		}
	}
	if err := m.validateRing("ring", m.Ring); err != nil {
		return err
	}
	if len(m.Prior) == 0 {
		return nil
	}
	return m.validateRing("prior ring", m.Prior)
}

func (m *Map) validateRing(name string, ring []byte) error {
	n := m.Slots()
	if len(ring) != m.Partitions*n*2 {
		return fmt.Errorf("%w: %s of %d bytes", ErrInvalidMap, name, len(ring))
	}
	row := make([]uint16, 0, n)
	for i := range m.Partitions * n {
		if i%n == 0 {
			row = row[:0]
		}
		d := binary.BigEndian.Uint16(ring[2*i:])
		if d == vacant {
			continue
		}
		if int(d) >= len(m.Drives) || slices.Contains(row, d) {
			return fmt.Errorf("%w: %s, partition %d", ErrInvalidMap, name, i/n)
		}
		row = append(row, d)
	}
	return nil
}

// derive returns the tables, which are made once; two goroutines that meet here make the same.
func (m *Map) derive() *tables {
	if t := m.tables.Load(); t != nil {
		return t
	}
	t := &tables{homes: m.spell(m.Ring), drives: make(map[DriveID]int, len(m.Drives))}
	for i, d := range m.Drives {
		t.drives[d.ID] = i
	}
	if len(m.Prior) > 0 {
		t.previous = m.spell(m.Prior)
		t.open = make([]bool, m.Partitions)
		n := m.Slots()
		for i, id := range t.previous {
			if !id.IsZero() && i/n < len(t.open) {
				t.open[i/n] = true
			}
		}
	}
	m.tables.Store(t)
	return t
}

// spell replaces the indexes of a ring by the drives' ids.
func (m *Map) spell(ring []byte) []DriveID {
	ids := make([]DriveID, len(ring)/2)
	for i := range ids {
		if d := int(binary.BigEndian.Uint16(ring[2*i:])); d < len(m.Drives) {
			ids[i] = m.Drives[d].ID
		}
	}
	return ids
}
