package storagenode

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// bruteForce counts by looking at every shard of every drive that is up.
func bruteForce(c *testCluster) Redundancy {
	all := map[chunkID][]holding{}
	for id := range c.drives {
		d := c.up(id)
		if d == nil {
			continue
		}
		for p := range uint32(c.m.Partitions) {
			list, err := d.Memory.List(c.ctx, p, placement.ShardID{}, 1<<30)
			if err != nil {
				c.t.Fatal(err)
			}
			for _, info := range list {
				all[chunkOf(info.ID)] = append(all[chunkOf(info.ID)], holding{id, info})
			}
		}
	}
	r := Redundancy{Lost: make([]uint64, 1)}
	for _, holdings := range all {
		live := map[uint8]bool{}
		for _, h := range holdings {
			live[h.info.ID.Index] = true
		}
		info := holdings[0].info
		n := int(info.K) + int(info.M)
		r.Chunks++
		r.Bytes += uint64(info.ChunkSize)
		if len(live) < int(info.K) {
			r.Unreadable++
			continue
		}
		r.Lost = addAt(r.Lost, n-len(live), 1)
		r.Live = addAt(r.Live, len(live), 1)
		r.MissingBytes += uint64(n-len(live)) * uint64(info.Size)
		if len(live) == int(info.K) {
			r.AtRisk++
		}
	}
	return r
}

// needed is metadata that refers to some blobs.
type needed map[placement.BlobID]bool

func (n needed) BlobsLive(_ context.Context, blobs []placement.BlobID) ([]bool, error) {
	if n == nil {
		return nil, errors.New("no leader")
	}
	live := make([]bool, len(blobs))
	for i, id := range blobs {
		live[i] = n[id]
	}
	return live, nil
}

// TestAbandonedChunks tells what writes that were cut off, and drives that were not told of a deletion, have left from what is lost.
func TestAbandonedChunks(t *testing.T) {
	cluster := newTestCluster(t, 8, 4, 2, 6)
	cluster.write(12, 1000)
	some, i := needed{}, 0
	for id := range cluster.chunks {
		if i++; i > 11 {
			continue // whole
		}
		homes, drop := cluster.m.Homes(cluster.m.Partition(id.blob, id.chunk)), 3
		if i > 9 {
			drop = 1
		}
		for slot := range drop {
			cluster.drives[homes[slot]].Drop(t.Context(), []placement.ShardID{id.shard(slot)})
		}
		if i <= 2 || i == 10 {
			some[id.blob] = true
		}
	}
	for _, tt := range []struct {
		name                  string
		live                  Liveness
		unreadable, abandoned uint64
		lost                  uint64
	}{
		{"nobody is asked", nil, 9, 0, 2},
		{"three are needed", some, 2, 8, 1},
		{"the metadata cannot be asked", needed(nil), 9, 0, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			counter := NewCounter(cluster, tt.live)
			for range 2 { // the second time by what it remembers
				count, err := counter.Count(t.Context())
				if err != nil || count.Chunks != 12 || count.Unreadable != tt.unreadable || count.Abandoned != tt.abandoned ||
					count.Lost[1] != tt.lost || count.Live[5] != tt.lost || count.MissingBytes == 0 || count.Whole() != 1 {
					t.Errorf("got %+v, %v", count, err)
				}
			}
		})
	}
}

// TestCounterIsRight changes a cluster in every way and compares a Counter that remembers with a look at everything.
func TestCounterIsRight(t *testing.T) {
	cluster := newTestCluster(t, 32, 4, 2, 8)
	counter := NewCounter(cluster, nil)
	drive := func() *countedDrive {
		return cluster.drives[cluster.m.Drives[cluster.random.IntN(len(cluster.m.Drives))].ID]
	}
	shard := func() placement.ShardID {
		for id := range cluster.chunks {
			return id.shard(cluster.random.IntN(6))
		}
		return placement.ShardID{}
	}
	for round := range 200 {
		switch cluster.random.IntN(7) {
		case 0:
			cluster.write(3, 500)
		case 1: // up to four are down at a time, so that codes get narrow and chunks unreadable
			d := drive()
			d.mu.Lock()
			d.down = !d.down
			d.mu.Unlock()
		case 2:
			id := shard()
			drive().Drop(t.Context(), []placement.ShardID{id})
		case 3:
			id := shard()
			drive().Damage(id)
		case 4:
			id := shard()
			drive().Delete(t.Context(), []placement.ShardID{id})
		case 5: // a copy, or a shard out of place
			id := shard()
			if body, ok := cluster.chunks[chunkOf(id)]; ok && int(id.Index) < len(body.shards) {
				h := shardstore.Header{ID: id, Partition: cluster.m.Partition(id.Blob, id.Chunk), K: uint8(body.params.K), M: uint8(body.params.M), ChunkSize: uint32(body.size)}
				_ = drive().Put(t.Context(), h, body.shards[id.Index]) // a tombstone may forbid it
			}
		case 6:
			if len(cluster.m.Open()) > 0 {
				cluster.m = cluster.m.Complete(cluster.m.Open())
			} else {
				cluster.change(placement.SetWeight{ID: driveID(1), Weight: uint32(1 + cluster.random.IntN(3))})
			}
		}
		up := 0
		for id := range cluster.drives {
			if cluster.up(id) != nil {
				up++
			}
		}
		if up < 4 {
			for _, d := range cluster.drives {
				d.down = false
			}
		}
		got, err := counter.Count(t.Context())
		if want := bruteForce(cluster); err != nil || !sameCount(got, want) {
			t.Fatalf("round %d: %+v, %v; want %+v", round, got, err, want)
		}
	}
}

func sameCount(a, b Redundancy) bool {
	for len(a.Live) < len(b.Live) {
		a.Live = append(a.Live, 0)
	}
	for len(b.Live) < len(a.Live) {
		b.Live = append(b.Live, 0)
	}
	for len(a.Lost) < len(b.Lost) {
		a.Lost = append(a.Lost, 0)
	}
	for len(b.Lost) < len(a.Lost) {
		b.Lost = append(b.Lost, 0)
	}
	return reflect.DeepEqual(a, b)
}

// What is whole is not listed, and what is not is listed once.
func TestCounterListsLittle(t *testing.T) {
	cluster := newTestCluster(t, 32, 4, 2, 8)
	cluster.write(300, 500)
	counter := NewCounter(cluster, nil)
	count := func() (lists int) {
		before := cluster.lists()
		if _, err := counter.Count(t.Context()); err != nil {
			t.Fatal(err)
		}
		return cluster.lists() - before
	}
	if n := count(); n != 0 {
		t.Errorf("%d lists of what is whole", n)
	}
	cluster.down(0)
	if n := count(); n == 0 {
		t.Error("no list of what is not whole")
	}
	if n := count(); n != 0 {
		t.Errorf("%d lists though nothing has changed", n)
	}
	cluster.back(0)
	cluster.halt(driveID(0))
	for id := range cluster.chunks {
		homes := cluster.m.Homes(cluster.m.Partition(id.blob, id.chunk))
		cluster.drives[homes[0]].Drop(t.Context(), []placement.ShardID{id.shard(0)})
		break
	}
	if n := count(); n == 0 || n > 8 {
		t.Errorf("%d lists for one partition", n)
	}
}
