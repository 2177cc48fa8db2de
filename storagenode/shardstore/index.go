package shardstore

import (
	"cmp"
	"slices"
	"sync"

	"kintsugi/placement"
)

// index knows every shard of a drive, its tombstones, and how much of each
// segment is still needed. It lives in memory and is made of nothing but the
// records that were applied to it, in whichever order.
//
// Entries are plain values in slabs, found through tables of slot numbers: there
// is no pointer in them for the collector to follow, and a shard costs about 85 bytes.
type index struct {
	mu         sync.RWMutex // guards everything below
	tables     [tableCount]table
	slabs      [][]entry
	free       []uint32 // slots of slabs that are vacant
	partitions map[uint32]*partition
	segments   map[uint32]*segmentStat // those on the disk, by generation
	ghosts     map[uint32][]uint32     // slot -> generations with dead copies, beyond entry.dead
	counts     [stateCount]uint64
}

// segmentStat is what the index knows of a segment.
type segmentStat struct {
	liveBytes int64 // of records that are needed
}

// entry is a shard or a tombstone. Times are Unix seconds, sizes bytes.
type entry struct {
	epoch, seq               uint64
	blob                     placement.BlobID
	chunk, partition         uint32
	chunkSize, size, written uint32
	gen, off                 uint32 // where its record is
	dead                     uint32 // generation with a dead copy of the payload; 0: none known
	shard, k, m              uint8
	state                    state
}

type state uint8

const (
	stateNone state = iota
	stateLive
	stateCorrupt
	stateTombstone
	stateDropped
	stateCount
)

const slabSize = 256

func newIndex() *index {
	return &index{
		partitions: map[uint32]*partition{},
		segments:   map[uint32]*segmentStat{},
		ghosts:     map[uint32][]uint32{},
	}
}

func (e *entry) id() placement.ShardID {
	return placement.ShardID{Blob: e.blob, Chunk: e.chunk, Index: e.shard}
}

func (e *entry) info() Info {
	return Info{
		Header: Header{ID: e.id(), Partition: e.partition, Epoch: e.epoch, K: e.k, M: e.m, ChunkSize: e.chunkSize},
		Size:   int64(e.size), Written: int64(e.written),
	}
}

// record is what the header of the entry's record says.
func (e *entry) record() record {
	return record{
		Header: e.info().Header, kind: kindOf(e.state), size: e.size, written: e.written,
		seq: e.seq, gen: e.gen, off: e.off,
	}
}

// length is what the entry's record takes in its segment.
func (e *entry) length() int64 { return recordLen(int64(e.size)) }

// needed tells whether the entry's record must stay on the disk.
func (e *entry) needed() bool { return e.state != stateNone && e.state != stateCorrupt }

func (x *index) at(slot uint32) *entry { return &x.slabs[slot/slabSize][slot%slabSize] }

// get returns the entry of id; its state is stateNone if there is none.
func (x *index) get(id placement.ShardID) entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if slot, ok := x.find(id); ok {
		return *x.at(slot)
	}
	return entry{}
}

// apply takes a record that is durable. It returns ErrDeleted for a put that a tombstone forbids.
func (x *index) apply(r *record) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.applyLocked(r)
}

func (x *index) applyLocked(r *record) error {
	slot, ok := x.find(r.ID)
	if !ok {
		slot = x.insert(r.ID)
	}
	e := x.at(slot)
	if ok && (r.seq < e.seq || r.seq == e.seq && r.gen <= e.gen) {
		if r.kind == kindPut && (r.gen != e.gen || r.off != e.off) {
			x.addGhost(slot, r.gen)
		}
		if r.kind == kindPut && e.state == stateTombstone {
			return ErrDeleted
		}
		return nil
	}
	if ok {
		x.unlink(slot)
	}
	e.epoch, e.seq, e.partition, e.chunkSize = r.Epoch, r.seq, r.Partition, r.ChunkSize
	e.size, e.written, e.gen, e.off, e.k, e.m = r.size, r.written, r.gen, r.off, r.K, r.M
	x.link(slot, stateOf(r.kind))
	return nil
}

func kindOf(s state) kind {
	switch s {
	case stateTombstone:
		return kindTombstone
	case stateDropped:
		return kindDrop
	}
	return kindPut
}

func stateOf(k kind) state {
	switch k {
	case kindTombstone:
		return stateTombstone
	case kindDrop:
		return stateDropped
	}
	return stateLive
}

// link makes the entry count in its new state.
func (x *index) link(slot uint32, st state) {
	e := x.at(slot)
	e.state = st
	x.counts[st]++
	if s := x.segments[e.gen]; s != nil && e.needed() {
		s.liveBytes += e.length()
	}
	if st == stateLive {
		x.addToPartition(slot)
	}
}

// unlink takes the entry out of all counts, and remembers its payload as dead.
func (x *index) unlink(slot uint32) {
	e := x.at(slot)
	x.counts[e.state]--
	if s := x.segments[e.gen]; s != nil && e.needed() {
		s.liveBytes -= e.length()
	}
	if e.state == stateLive {
		x.removeFromPartition(slot)
	}
	if e.state == stateLive || e.state == stateCorrupt {
		x.addGhost(slot, e.gen)
	}
	e.state = stateNone
}

// addGhost remembers that a dead copy of the payload is in segment gen, so that
// a tombstone is kept for as long as that copy could be found again by a scan.
func (x *index) addGhost(slot, gen uint32) {
	e := x.at(slot)
	if e.dead == gen || gen == 0 {
		return
	}
	if x.segments[e.dead] == nil {
		e.dead = gen
		return
	}
	if old := x.ghosts[slot]; !slices.Contains(old, gen) {
		x.ghosts[slot] = append(old, gen)
	}
}

// haunted tells whether a segment other than gen holds a dead copy of the payload.
func (x *index) haunted(slot, gen uint32) bool {
	if e := x.at(slot); e.dead != gen && x.segments[e.dead] != nil {
		return true
	}
	return slices.ContainsFunc(x.ghosts[slot], func(g uint32) bool { return g != gen && x.segments[g] != nil })
}

// relocate tells the index that compaction has copied the record of e. If the
// entry has changed meanwhile the copy is dead.
func (x *index) relocate(from entry, gen, off uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	slot, ok := x.find(from.id())
	if !ok {
		return
	}
	e := x.at(slot)
	if e.gen != from.gen || e.off != from.off || e.state != from.state {
		if from.state == stateLive {
			x.addGhost(slot, gen)
		}
		return
	}
	st := e.state
	x.unlink(slot)
	e.gen, e.off = gen, off
	x.link(slot, st)
}

// markCorrupt remembers that the record of e is damaged; false if the entry has changed meanwhile.
func (x *index) markCorrupt(from entry) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	slot, ok := x.find(from.id())
	if !ok {
		return false
	}
	e := x.at(slot)
	if e.gen != from.gen || e.off != from.off || e.state == stateNone {
		return false
	}
	if e.state == stateLive {
		x.unlink(slot)
		x.link(slot, stateCorrupt)
	}
	return true
}

// addCorrupt remembers a shard of which only a damaged record was found.
func (x *index) addCorrupt(r *record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, ok := x.find(r.ID); ok {
		return
	}
	if x.applyLocked(r) == nil {
		slot, _ := x.find(r.ID)
		x.unlink(slot)
		x.link(slot, stateCorrupt)
	}
}

// expire forgets a tombstone that was written before the given time and has no
// dead copy left outside segment gen. It tells whether the record is not needed any more.
func (x *index) expire(id placement.ShardID, before uint32, gen uint32) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	slot, ok := x.find(id)
	return !ok || x.expireSlot(slot, before, gen)
}

func (x *index) expireSlot(slot uint32, before, gen uint32) bool {
	e := x.at(slot)
	old := e.state == stateDropped || e.written < before
	if (e.state != stateTombstone && e.state != stateDropped) || !old || x.haunted(slot, gen) {
		return false
	}
	x.unlink(slot)
	x.remove(slot)
	return true
}

// expireAll is expire for every entry, some at a time so that nobody waits long.
func (x *index) expireAll(before uint32) {
	for slab := 0; ; slab++ {
		x.mu.Lock()
		if slab >= len(x.slabs) {
			x.mu.Unlock()
			return
		}
		for i := range x.slabs[slab] {
			x.expireSlot(uint32(slab*slabSize+i), before, 0)
		}
		x.mu.Unlock()
	}
}

// addSegment makes a segment known before its records are applied.
func (x *index) addSegment(gen uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.segments[gen] = &segmentStat{}
}

// removeSegment forgets a segment whose file is gone, or is another generation's now.
func (x *index) removeSegment(gen uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.segments, gen)
}

// liveBytes is how much of a segment is needed.
func (x *index) liveBytes(gen uint32) int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if s := x.segments[gen]; s != nil {
		return s.liveBytes
	}
	return 0
}

// usage fills in what the index knows of it.
func (x *index) usage(u *Usage) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	u.Shards, u.Corrupt, u.Tombstones = x.counts[stateLive], x.counts[stateCorrupt], x.counts[stateTombstone]
	for _, s := range x.segments {
		u.LiveBytes += uint64(s.liveBytes)
	}
}

// forgetCorrupt drops the entry of a damaged record whose segment goes: the shard is not here any more.
func (x *index) forgetCorrupt(from entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	slot, ok := x.find(from.id())
	if !ok {
		return
	}
	if e := x.at(slot); e.state == stateCorrupt && e.gen == from.gen && e.off == from.off && !x.haunted(slot, e.gen) {
		x.unlink(slot)
		x.remove(slot)
	}
}

// inSegment returns the entries whose records are in a segment, in order of offset.
func (x *index) inSegment(gen uint32) []entry {
	var list []entry
	for slab := 0; ; slab++ {
		x.mu.RLock()
		if slab >= len(x.slabs) {
			x.mu.RUnlock()
			break
		}
		for _, e := range x.slabs[slab] {
			if e.gen == gen && e.state != stateNone {
				list = append(list, e)
			}
		}
		x.mu.RUnlock()
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.off, b.off) })
	return list
}
