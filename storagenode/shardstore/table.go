package shardstore

import (
	"math"

	"kintsugi/placement"
)

// table maps shards to slots: open addressing with linear probing, at most three
// quarters full. There are many small tables instead of a large one, so that
// growing one of them holds nobody up for long.
type table struct {
	cells []cell
	count int
}

// cell is half of a shard's hash above the slot number plus one; 0: vacant. With
// the hash at hand a probe passes strangers without touching their entries.
type cell uint64

const tableCount = 64

func newCell(hash uint64, slot uint32) cell { return cell(hash<<32 | uint64(slot+1)) }

func (c cell) slot() uint32 { return uint32(c) - 1 }

// home is where the cell belongs in a table with this mask.
func (c cell) home(mask uint32) uint32 { return uint32(c>>32) & mask }

// placeHash finds a shard in the tables. The shards of a chunk are neighbours, so
// that looking whether there are others costs one miss of the processor's cache.
func placeHash(id placement.ShardID) uint64 {
	h := ChunkHash(id.Blob, id.Chunk)
	return h&^math.MaxUint32 | uint64(uint32(h)+uint32(id.Index))
}

// tableOf picks a table by the hash's high bits; the low ones pick the place in it.
func (x *index) tableOf(hash uint64) *table { return &x.tables[hash>>58] }

// find returns the slot of id. The caller holds mu.
func (x *index) find(id placement.ShardID) (uint32, bool) {
	hash := placeHash(id)
	t := x.tableOf(hash)
	if t.count == 0 {
		return 0, false
	}
	mask := uint32(len(t.cells) - 1)
	for i := uint32(hash) & mask; t.cells[i] != 0; i = (i + 1) & mask {
		c := t.cells[i]
		if uint32(c>>32) != uint32(hash) {
			continue
		}
		if e := x.at(c.slot()); e.blob == id.Blob && e.chunk == id.Chunk && e.shard == id.Index {
			return c.slot(), true
		}
	}
	return 0, false
}

// insert makes an entry for id, which must have none, and returns its slot.
func (x *index) insert(id placement.ShardID) uint32 {
	if len(x.free) == 0 {
		first := uint32(len(x.slabs) * slabSize)
		x.slabs = append(x.slabs, make([]entry, slabSize))
		for i := uint32(slabSize); i > 0; i-- {
			x.free = append(x.free, first+i-1)
		}
	}
	slot := x.free[len(x.free)-1]
	x.free = x.free[:len(x.free)-1]
	*x.at(slot) = entry{blob: id.Blob, chunk: id.Chunk, shard: id.Index}
	hash := placeHash(id)
	t := x.tableOf(hash)
	if (t.count+1)*4 > len(t.cells)*3 {
		t.grow()
	}
	t.place(newCell(hash, slot))
	t.count++
	return slot
}

// place puts a cell into the first vacancy from its home on.
func (t *table) place(c cell) {
	mask := uint32(len(t.cells) - 1)
	i := c.home(mask)
	for t.cells[i] != 0 {
		i = (i + 1) & mask
	}
	t.cells[i] = c
}

func (t *table) grow() {
	old := t.cells
	t.cells = make([]cell, max(16, 2*len(old)))
	for _, c := range old {
		if c != 0 {
			t.place(c)
		}
	}
}

// remove vacates the slot of an entry that is in no list any more. What follows
// in the table moves up, so that no probe ends early.
func (x *index) remove(slot uint32) {
	hash := placeHash(x.at(slot).id())
	t := x.tableOf(hash)
	mask := uint32(len(t.cells) - 1)
	hole := uint32(hash) & mask
	for t.cells[hole].slot() != slot {
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; t.cells[i] != 0; i = (i + 1) & mask {
		if (i-t.cells[i].home(mask))&mask >= (i-hole)&mask {
			t.cells[hole] = t.cells[i]
			hole = i
		}
	}
	t.cells[hole] = 0
	t.count--
	*x.at(slot) = entry{}
	delete(x.ghosts, slot)
	x.free = append(x.free, slot)
}
