package storagenode

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"kintsugi/erasure"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// testCluster is a cluster of drives in memory, each with its Reconciler while it is up.
type testCluster struct {
	t       *testing.T
	ctx     context.Context
	mu      sync.Mutex // guards the map and drives
	m       *placement.Map
	drives  map[placement.DriveID]*countedDrive
	running map[placement.DriveID]*runner
	config  func(*Config)
	codes   erasure.Cache
	chunks  map[chunkID]testBody
	random  *rand.Rand
}

// countedDrive is a drive in memory that counts calls, may be down, or fail reads.
type countedDrive struct {
	*shardstore.Memory
	mu     sync.Mutex // guards what follows
	down   bool
	calls  int
	lists  int
	refuse bool                       // reads
	lost   map[placement.ShardID]bool // reads of these find them corrupt
}

type runner struct {
	*Reconciler
	stop func() error
}

type testBody struct {
	params erasure.Params
	size   int64
	shards [][]byte
}

func (d *countedDrive) count() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
}

func (d *countedDrive) counted() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// lists counts the lists that were asked for.
func (c *testCluster) lists() (sum int) {
	for _, d := range c.drives {
		d.mu.Lock()
		sum += d.lists
		d.mu.Unlock()
	}
	return sum
}

func (d *countedDrive) List(ctx context.Context, p uint32, after placement.ShardID, limit int) ([]shardstore.Info, error) {
	d.count()
	d.mu.Lock()
	d.lists++
	d.mu.Unlock()
	return d.Memory.List(ctx, p, after, limit)
}

func (d *countedDrive) Digest(ctx context.Context, p uint32) (shardstore.Digest, error) {
	d.count()
	return d.Memory.Digest(ctx, p)
}

func (d *countedDrive) ReadAt(ctx context.Context, id placement.ShardID, p []byte, off int64) error {
	d.mu.Lock()
	lost, refuse := d.lost[id], d.refuse
	d.calls++
	d.mu.Unlock()
	if refuse {
		return errors.New("connection reset")
	}
	if lost && off > 0 {
		d.Damage(id)
	}
	return d.Memory.ReadAt(ctx, id, p, off)
}

func newTestCluster(t *testing.T, partitions, k, m, drives int) *testCluster {
	ctx, cancel := context.WithCancel(context.Background())
	c := &testCluster{
		t: t, ctx: ctx, drives: map[placement.DriveID]*countedDrive{}, running: map[placement.DriveID]*runner{},
		chunks: map[chunkID]testBody{}, random: rand.New(rand.NewPCG(1, 2)),
	}
	t.Cleanup(func() {
		cancel()
		for id := range c.running {
			c.halt(id)
		}
	})
	var members []placement.Drive
	for i := range drives {
		members = append(members, c.member(i))
	}
	var err error
	if c.m, err = placement.Birth(placement.ClusterID{1}, partitions, k, m, members); err != nil {
		t.Fatal(err)
	}
	return c
}

// member makes an empty drive.
func (c *testCluster) member(i int) placement.Drive {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drives[driveID(i)] = &countedDrive{Memory: shardstore.NewMemory(), lost: map[placement.ShardID]bool{}}
	return placement.Drive{ID: driveID(i), Weight: 1}
}

func (c *testCluster) Map() *placement.Map {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m
}

func (c *testCluster) Peer(id placement.DriveID) Peer {
	if d := c.up(id); d != nil {
		return d
	}
	return nil
}

func (c *testCluster) up(id placement.DriveID) *countedDrive {
	c.mu.Lock()
	d := c.drives[id]
	c.mu.Unlock()
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil
	}
	return d
}

func (c *testCluster) change(changes ...placement.Change) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := c.m.With(changes...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.m = next
}

// clean is what the metadata layer does with the reports.
func (c *testCluster) clean(epoch uint64, partitions []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m.Epoch == epoch {
		c.m = c.m.Complete(partitions)
	}
}

func (c *testCluster) hint(id placement.ShardID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.running {
		go r.Hint(id)
	}
}

// start runs the Reconcilers of these drives.
func (c *testCluster) start(drives ...int) {
	for _, i := range drives {
		id := driveID(i)
		cfg := Config{Drive: id, Hint: c.hint, Clean: c.clean, FullPass: -1}
		if c.config != nil {
			c.config(&cfg)
		}
		r, err := New(cfg, c.drives[id], c)
		if err != nil {
			c.t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(c.ctx)
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		c.mu.Lock()
		c.running[id] = &runner{r, func() error { cancel(); return <-ended }}
		c.mu.Unlock()
	}
}

func (c *testCluster) halt(id placement.DriveID) error {
	c.mu.Lock()
	r := c.running[id]
	delete(c.running, id)
	c.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.stop()
}

// down takes drives away, with their Reconcilers; back brings them again.
func (c *testCluster) down(drives ...int) {
	for _, i := range drives {
		d := c.drives[driveID(i)]
		d.mu.Lock()
		d.down = true
		d.mu.Unlock()
		c.halt(driveID(i))
	}
}

func (c *testCluster) back(drives ...int) {
	for _, i := range drives {
		d := c.drives[driveID(i)]
		d.mu.Lock()
		d.down = false
		d.mu.Unlock()
		c.start(i)
	}
}

// destroy loses a drive and all that is on it.
func (c *testCluster) destroy(id placement.DriveID) {
	c.halt(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.drives, id)
}

// write writes chunks of about so many bytes as the gateway does: with a narrower
// code to the first drives of the ranking where fewer than k+m drives are up.
func (c *testCluster) write(chunks int, size int64) {
	c.t.Helper()
	for range chunks {
		var id chunkID
		for i := range id.blob {
			id.blob[i] = byte(c.random.Uint32())
		}
		c.writeChunk(id, size+c.random.Int64N(size))
	}
}

func (c *testCluster) writeChunk(id chunkID, size int64) {
	c.t.Helper()
	m := c.Map()
	p := m.Partition(id.blob, id.chunk)
	var targets []placement.DriveID
	for _, d := range m.Ranking(p) {
		if c.up(d) != nil {
			targets = append(targets, d)
		}
	}
	params := erasure.Params{K: m.K, M: m.M}
	if len(targets) < params.Shards() {
		params.K = max(1, len(targets)-params.M)
	}
	targets = targets[:min(len(targets), params.Shards())]
	for i, home := range m.Homes(p)[:len(targets)] { // a home that is up has its own shard
		if at := indexOf(targets, home); at >= 0 && len(targets) == m.Slots() {
			targets[i], targets[at] = targets[at], targets[i]
		}
	}
	body := c.encode(params, size)
	for i, d := range targets {
		h := shardstore.Header{ID: id.shard(i), Partition: p, Epoch: m.Epoch, K: uint8(params.K), M: uint8(params.M), ChunkSize: uint32(size)}
		if err := c.up(d).Put(c.ctx, h, body.shards[i]); err != nil {
			c.t.Fatal(err)
		}
	}
	c.chunks[id] = body
}

func indexOf(ids []placement.DriveID, id placement.DriveID) int {
	for i := range ids {
		if ids[i] == id {
			return i
		}
	}
	return -1
}

func (c *testCluster) encode(params erasure.Params, size int64) testBody {
	code, err := c.codes.Code(params)
	if err != nil {
		c.t.Fatal(err)
	}
	body := testBody{params: params, size: size}
	for i := range params.Shards() {
		shard := make([]byte, erasure.ShardSize(params, size))
		if i < params.K {
			for j := 0; j < len(shard); j += 8 { // shards are multiples of 64 bytes
				binary.LittleEndian.PutUint64(shard[j:], c.random.Uint64())
			}
		}
		body.shards = append(body.shards, shard)
	}
	if err := code.Encode(body.shards); err != nil {
		c.t.Fatal(err)
	}
	return body
}

// trouble tells what is not as it should be: every home has its shard, whole and
// right, and no drive has anything else.
func (c *testCluster) trouble() error {
	want := map[placement.DriveID]int{}
	m := c.Map()
	if len(m.Open()) > 0 {
		return errors.New("transitions are open")
	}
	for id, body := range c.chunks {
		for i, home := range m.Homes(m.Partition(id.blob, id.chunk)) {
			if i >= body.params.Shards() || home.IsZero() {
				continue
			}
			want[home]++
			got := make([]byte, len(body.shards[i]))
			if err := c.drives[home].Memory.ReadAt(c.ctx, id.shard(i), got, 0); err != nil {
				return err
			}
			if !bytes.Equal(got, body.shards[i]) {
				c.t.Fatalf("shard %s has other bytes than before", id.shard(i))
			}
		}
	}
	for id, d := range c.drives {
		if c.up(id) != nil && int(d.Usage().Shards) != want[id] {
			return errors.New("copies are left")
		}
	}
	return nil
}

// await waits, in virtual time, until nothing is wrong.
func (c *testCluster) await(limit time.Duration) time.Duration {
	c.t.Helper()
	return c.until(limit, c.trouble)
}

func (c *testCluster) until(limit time.Duration, trouble func() error) time.Duration {
	c.t.Helper()
	begun := time.Now()
	for {
		err := trouble()
		if err == nil {
			return time.Since(begun)
		}
		if time.Since(begun) > limit {
			c.t.Fatalf("after %s: %v", limit, err)
		}
		time.Sleep(max(50*time.Millisecond, time.Since(begun)/20))
	}
}
