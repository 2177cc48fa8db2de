package shardstore

import (
	"math/rand/v2"
	"testing"

	"kintsugi/placement"
)

// TestIndexAgainstMap does random things to the index and to a plain map.
func TestIndexAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x := newIndex()
	for gen := range uint32(4) {
		x.addSegment(gen + 1)
	}
	type want struct {
		st  state
		seq uint64
	}
	model := map[placement.ShardID]want{}
	for seq := uint64(1); seq < 50_000; seq++ {
		rec := record{kind: kind(1 + r.IntN(3)), seq: seq, gen: uint32(1 + r.IntN(4)), off: uint32(seq), written: 100}
		rec.K, rec.M = 2, 1
		rec.ID.Blob[3], rec.ID.Blob[9], rec.ID.Index = byte(r.IntN(40)), byte(r.IntN(40)), uint8(r.IntN(3))
		rec.Partition = uint32(rec.ID.Blob[9] % 5)
		if r.IntN(4) == 0 { // one that comes late
			rec.seq = uint64(r.Int64N(int64(seq)))
		}
		if old, ok := model[rec.ID]; !ok || rec.seq > old.seq {
			model[rec.ID] = want{stateOf(rec.kind), rec.seq}
		}
		_ = x.apply(&rec)
		if r.IntN(10) == 0 && x.expire(rec.ID, 0, 0) {
			delete(model, rec.ID) // a drop without a dead copy
		}
	}
	var live uint64
	digests := map[uint32]Digest{}
	chunks := map[placement.ShardID]bool{}
	for id, w := range model {
		if e := x.get(id); e.state != w.st || e.seq != w.seq {
			t.Fatalf("%v: state %d at %d, want %d at %d", id, e.state, e.seq, w.st, w.seq)
		}
		if w.st != stateLive {
			continue
		}
		live++
		p := uint32(id.Blob[9] % 5)
		d := digests[p]
		d.Shards += shardTerm(id)
		chunk := id
		if chunk.Index = 0; !chunks[chunk] {
			chunks[chunk] = true
			d.Count, d.Sum = d.Count+1, d.Sum+ChunkHash(id.Blob, id.Chunk)
		}
		digests[p] = d
	}
	var listed uint64
	for p := range uint32(5) {
		listed += uint64(len(x.list(p, placement.ShardID{}, 1<<20)))
		if got := x.digestOf(p); got != digests[p] {
			t.Errorf("partition %d: %+v, want %+v", p, got, digests[p])
		}
	}
	var u Usage
	if x.usage(&u); u.Shards != live || listed != live {
		t.Errorf("%d shards, %d listed, want %d", u.Shards, listed, live)
	}
	if u.LiveBytes != live*128+(u.Tombstones+x.counts[stateDropped])*128 {
		t.Errorf("%d live bytes of %d shards, %d tombstones, %d drops", u.LiveBytes, live, u.Tombstones, x.counts[stateDropped])
	}
}

// BenchmarkIndexApply fills an index; the heap that it takes is told by BenchmarkOpen.
func BenchmarkIndexApply(b *testing.B) {
	x := newIndex()
	x.addSegment(1)
	rec := record{kind: kindPut, gen: 1, size: 32 << 10}
	rec.K, rec.M = 4, 2
	for b.Loop() {
		rec.seq++
		for i := range 8 {
			rec.ID.Blob[i] = byte(rec.seq >> (8 * i))
		}
		rec.Partition = uint32(rec.seq % 1024)
		_ = x.apply(&rec)
	}
}
