package shardstore

import "kintsugi/placement"

// table maps shards to slots: open addressing with linear probing, at most three
// quarters full. There are many small tables instead of a large one, so that
// growing one of them holds nobody up for long.
type table struct {
	slots []uint32 // slot + 1; 0: vacant
	count int
}

const tableCount = 64

// tableOf picks a table by the hash's high bits; the low ones pick the place in it.
func (x *index) tableOf(hash uint64) *table { return &x.tables[hash>>58] }

// find returns the slot of id. The caller holds mu.
func (x *index) find(id placement.ShardID) (uint32, bool) {
	hash := idHash(id)
	t := x.tableOf(hash)
	if t.count == 0 {
		return 0, false
	}
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; t.slots[i] != 0; i = (i + 1) & mask {
		slot := t.slots[i] - 1
		if e := x.at(slot); e.blob == id.Blob && e.chunk == id.Chunk && e.shard == id.Index {
			return slot, true
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
	hash := idHash(id)
	t := x.tableOf(hash)
	if (t.count+1)*4 > len(t.slots)*3 {
		x.grow(t)
	}
	t.place(hash, slot)
	t.count++
	return slot
}

// place puts a slot into the first vacancy for its hash.
func (t *table) place(hash uint64, slot uint32) {
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = slot + 1
}

func (x *index) grow(t *table) {
	old := t.slots
	t.slots = make([]uint32, max(16, 2*len(old)))
	for _, s := range old {
		if s != 0 {
			t.place(idHash(x.at(s-1).id()), s-1)
		}
	}
}

// remove vacates the slot of an entry that is in no list any more. What follows
// in the table moves up, so that no probe ends early.
func (x *index) remove(slot uint32) {
	hash := idHash(x.at(slot).id())
	t := x.tableOf(hash)
	mask := uint64(len(t.slots) - 1)
	hole := hash & mask
	for t.slots[hole] != slot+1 {
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; t.slots[i] != 0; i = (i + 1) & mask {
		home := idHash(x.at(t.slots[i]-1).id()) & mask
		if (i-home)&mask >= (i-hole)&mask {
			t.slots[hole] = t.slots[i]
			hole = i
		}
	}
	t.slots[hole] = 0
	t.count--
	*x.at(slot) = entry{}
	delete(x.ghosts, slot)
	x.free = append(x.free, slot)
}
