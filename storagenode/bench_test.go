package storagenode

import (
	"context"
	"fmt"
	"testing"
	"time"

	"kintsugi/erasure"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// diskCluster is six drives on this machine's disk.
type diskCluster struct {
	m      *placement.Map
	stores map[placement.DriveID]*shardstore.Store
}

func (c *diskCluster) Map() *placement.Map { return c.m }

func (c *diskCluster) Peer(id placement.DriveID) Peer {
	if s := c.stores[id]; s != nil {
		return s
	}
	return nil
}

func (c *diskCluster) open(b *testing.B, i int) placement.Drive {
	s, err := shardstore.Open(b.TempDir(), shardstore.Config{Drive: driveID(i)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	c.stores[driveID(i)] = s
	return placement.Drive{ID: driveID(i), Weight: 1}
}

// BenchmarkRebuild measures how long an empty drive in the place of a lost one takes to be whole.
func BenchmarkRebuild(b *testing.B) {
	for _, bench := range []struct {
		chunks int
		size   int64
	}{{2000, 4 << 10}, {500, 128 << 10}, {40, erasure.ChunkSize}} {
		b.Run(fmt.Sprintf("%dx%dKiB", bench.chunks, bench.size>>10), func(b *testing.B) {
			c := &diskCluster{stores: map[placement.DriveID]*shardstore.Store{}}
			var drives []placement.Drive
			for i := range 6 {
				drives = append(drives, c.open(b, i))
			}
			var err error
			if c.m, err = placement.Birth(placement.ClusterID{1}, 1024, 4, 2, drives); err != nil {
				b.Fatal(err)
			}
			c.fill(b, bench.chunks, bench.size)
			fresh, old := 10, 5
			b.SetBytes(int64(bench.chunks) * erasure.ShardSize(erasure.Default(6), bench.size))
			for b.Loop() {
				c.rebuild(b, old, fresh)
				old, fresh = fresh, fresh+1
			}
		})
	}
}

func (c *diskCluster) fill(b *testing.B, chunks int, size int64) {
	params := erasure.Params{K: 4, M: 2}
	payload := make([]byte, erasure.ShardSize(params, size))
	for n := range chunks {
		id := chunkID{placement.BlobID{byte(n), byte(n >> 8), 1}, 0}
		p := c.m.Partition(id.blob, id.chunk)
		for i, home := range c.m.Homes(p) { // all zeros is a codeword, too
			h := shardstore.Header{ID: id.shard(i), Partition: p, Epoch: 1, K: 4, M: 2, ChunkSize: uint32(size)}
			if err := c.stores[home].Put(b.Context(), h, payload); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func (c *diskCluster) rebuild(b *testing.B, old, fresh int) {
	drive := c.open(b, fresh)
	delete(c.stores, driveID(old))
	next, err := c.m.With(placement.ReplaceDrive{Old: driveID(old), New: drive})
	if err != nil {
		b.Fatal(err)
	}
	c.m = next
	ctx, cancel := context.WithCancel(b.Context())
	cleaned := make(chan []uint32, 1024)
	r, err := New(Config{
		Drive: drive.ID, Settle: time.Nanosecond, BytesPerSecond: -1,
		Clean: func(_ uint64, partitions []uint32) { cleaned <- partitions },
	}, c.stores[drive.ID], c)
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	r.Notify()
	go func() { ended <- r.Run(ctx) }()
	for open := len(c.m.Open()); open > 0; {
		open -= len(<-cleaned)
	}
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	c.m = c.m.Complete(c.m.Open())
}
