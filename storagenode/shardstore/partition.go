package shardstore

import (
	"slices"
	"sort"

	"kintsugi/placement"
)

// partition lists the healthy shards of one partition. The list is put in order
// when it is asked for: writes come in any order, and lists are rare.
type partition struct {
	slots  []uint32
	stale  int  // how many of slots belong here no more, at most
	sorted bool // slots has no stale ones and is in order
	digest Digest
}

// addToPartition lists a live entry. The caller holds mu.
func (x *index) addToPartition(slot uint32) {
	e := x.at(slot)
	p := x.partitions[e.partition]
	if p == nil {
		p = &partition{sorted: true}
		x.partitions[e.partition] = p
	}
	if n := len(p.slots); p.sorted && n > 0 && compareID(x.at(p.slots[n-1]).id(), e.id()) >= 0 {
		p.sorted = false
	}
	p.slots = append(p.slots, slot)
	p.digest.Shards += shardTerm(e.id())
	if !x.sibling(e) {
		p.digest.Count++
		p.digest.Sum += ChunkHash(e.blob, e.chunk)
		p.digest.Bytes += uint64(e.chunkSize)
	}
}

// removeFromPartition takes a live entry off. The caller holds mu.
func (x *index) removeFromPartition(slot uint32) {
	e := x.at(slot)
	p := x.partitions[e.partition]
	p.sorted = false
	if p.stale++; p.stale > len(p.slots)/2+slabSize {
		e.state = stateNone // so that tidy drops it
		x.tidy(e.partition, p)
		e.state = stateLive
	}
	p.digest.Shards -= shardTerm(e.id())
	if !x.sibling(e) {
		p.digest.Count--
		p.digest.Sum -= ChunkHash(e.blob, e.chunk)
		p.digest.Bytes -= uint64(e.chunkSize)
	}
}

// sibling tells whether the drive has another healthy shard of the entry's chunk.
func (x *index) sibling(e *entry) bool {
	id := e.id()
	for i := range e.k + e.m {
		if id.Index = i; i == e.shard {
			continue
		}
		if slot, ok := x.find(id); ok && x.at(slot).state == stateLive {
			return true
		}
	}
	return false
}

// tidy drops stale slots, and those listed twice because a slot was used again, and sorts.
func (x *index) tidy(number uint32, p *partition) {
	keep := p.slots[:0]
	for _, slot := range p.slots {
		if e := x.at(slot); e.state == stateLive && e.partition == number {
			keep = append(keep, slot)
		}
	}
	slices.SortFunc(keep, func(a, b uint32) int { return compareID(x.at(a).id(), x.at(b).id()) })
	p.slots, p.stale, p.sorted = slices.Compact(keep), 0, true
}

// list returns at most limit healthy shards of a partition after the given one, in order.
func (x *index) list(number uint32, after placement.ShardID, limit int) []Info {
	x.mu.RLock()
	p := x.partitions[number]
	sorted := p == nil || p.sorted
	if sorted {
		defer x.mu.RUnlock()
		return x.page(p, after, limit)
	}
	x.mu.RUnlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tidy(number, p)
	return x.page(p, after, limit)
}

func (x *index) page(p *partition, after placement.ShardID, limit int) []Info {
	if p == nil || limit <= 0 {
		return nil
	}
	first := sort.Search(len(p.slots), func(i int) bool { return compareID(x.at(p.slots[i]).id(), after) > 0 })
	slots := p.slots[first:min(first+limit, len(p.slots))]
	list := make([]Info, len(slots))
	for i, slot := range slots {
		list[i] = x.at(slot).info()
	}
	return list
}

func (x *index) digestsOf(numbers []uint32) []Digest {
	digests := make([]Digest, len(numbers))
	x.mu.RLock()
	defer x.mu.RUnlock()
	for i, n := range numbers {
		if p := x.partitions[n]; p != nil {
			digests[i] = p.digest
		}
	}
	return digests
}

func (x *index) digestOf(number uint32) Digest {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if p := x.partitions[number]; p != nil {
		return p.digest
	}
	return Digest{}
}
