package shardrpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kintsugi/erasure"
	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/audit"
	"kintsugi/storagenode/shardstore"
)

// nodes are processes with a drive each, within one: every node reaches the drives of the others through connections only.
type nodes struct {
	t       testing.TB
	secret  *secret.Secret
	current atomic.Pointer[placement.Map]
	codes   erasure.Cache
	random  *rand.ChaCha8

	mu   sync.Mutex // guards what follows
	all  map[placement.DriveID]*oneNode
	down map[placement.DriveID]bool
}

// oneNode is a process.
type oneNode struct {
	all    *nodes
	id     placement.DriveID
	dir    string
	store  *shardstore.Store
	fence  *storagenode.Fence
	server *rpc.Server
	client *rpc.Client
	addr   string
	r      *storagenode.Reconciler
	stop   func()

	mu    sync.Mutex // guards peers
	peers map[placement.DriveID]*Drive
}

func nodeID(i int) placement.DriveID { return placement.DriveID{0xd0, byte(i), 15: 1} }

func startNodes(t testing.TB, n, partitions, k, m int) *nodes {
	s, err := secret.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	c := &nodes{t: t, secret: s, all: map[placement.DriveID]*oneNode{}, down: map[placement.DriveID]bool{}, random: rand.NewChaCha8([32]byte{1})}
	var drives []placement.Drive
	for i := range n {
		c.start(i, t.TempDir())
		drives = append(drives, placement.Drive{ID: nodeID(i), Node: fmt.Sprint("n", i), Weight: 1})
	}
	born, err := placement.Birth(placement.ClusterID{1}, partitions, k, m, drives)
	if err != nil {
		t.Fatal(err)
	}
	c.setMap(born)
	return c
}

// start makes a node with the drive in dir.
func (c *nodes) start(i int, dir string) *oneNode {
	c.t.Helper()
	self := rpc.Identity{Node: fmt.Sprint("n", i), Roles: rpc.Storage, Incarnation: uint64(i + 1)}
	n := &oneNode{all: c, id: nodeID(i), dir: dir, peers: map[placement.DriveID]*Drive{}}
	var errs [6]error
	n.store, errs[0] = shardstore.Open(dir, shardstore.Config{Drive: n.id})
	n.fence, errs[1] = storagenode.NewFence(nil)
	n.client, errs[2] = rpc.NewClient(rpc.Config{Self: self, Secret: c.secret})
	n.server, errs[3] = rpc.NewServer(rpc.Config{Self: self, Secret: c.secret})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	errs[4] = err
	n.r, errs[5] = storagenode.New(storagenode.Config{
		Drive: n.id, Settle: time.Nanosecond, Retry: 100 * time.Millisecond, BytesPerSecond: -1, FullPass: -1, Codes: &c.codes,
		Hint: c.hint, Clean: c.clean,
	}, n.store, n)
	if err := errors.Join(errs[:]...); err != nil {
		c.t.Fatal(err)
	}
	n.addr = l.Addr().String()
	shards, err := New(ServerConfig{
		Drives: func(id placement.DriveID) Store {
			if id == n.id {
				return n.store
			}
			return nil
		},
		Fence: n.fence, Map: c.current.Load, Hint: n.r.Hint,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	shards.Handle(n.server)
	n.fence.SetLease(time.Now().Add(time.Hour))
	if m := c.current.Load(); m != nil {
		n.fence.SetMap(m)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = n.server.Serve(l) }) // ends with the server
	n.stop = sync.OnceFunc(func() {
		n.server.Close()
		n.client.Close()
		n.store.Close()
		serving.Wait()
	})
	c.t.Cleanup(n.stop)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[n.id] = n
	return n
}

// repair runs the reconcilers of these nodes until the test ends.
func (c *nodes) repair(list ...int) {
	for _, i := range list {
		n := c.node(i)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := n.r.Run(ctx); err != nil && !errors.Is(err, shardstore.ErrFailed) {
				c.t.Error(err)
			}
		}()
		stop := n.stop
		n.stop = sync.OnceFunc(func() { cancel(); <-ended; stop() })
		c.t.Cleanup(n.stop)
	}
}

func (c *nodes) node(i int) *oneNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[nodeID(i)]
}

func (c *nodes) setMap(m *placement.Map) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setMapLocked(m)
}

func (c *nodes) setMapLocked(m *placement.Map) {
	c.current.Store(m)
	for _, n := range c.all {
		n.fence.SetMap(m)
		n.r.Notify()
	}
}

func (c *nodes) change(changes ...placement.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.current.Load().With(changes...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.setMapLocked(m)
}

func (c *nodes) clean(epoch uint64, partitions []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.current.Load(); m.Epoch == epoch {
		c.setMapLocked(m.Complete(partitions))
	}
}

func (c *nodes) hint(id placement.ShardID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.all {
		n.r.Hint(id)
	}
}

// away makes the others take a node for dead, or alive.
func (c *nodes) away(away bool, list ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range list {
		c.down[nodeID(i)] = away
	}
}

// Map implements storagenode.Cluster.
func (n *oneNode) Map() *placement.Map { return n.all.current.Load() }

// Peer implements storagenode.Cluster.
func (n *oneNode) Peer(id placement.DriveID) storagenode.Peer {
	n.all.mu.Lock()
	other, down := n.all.all[id], n.all.down[id]
	n.all.mu.Unlock()
	switch {
	case id == n.id:
		return n.store
	case other == nil || down:
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if d := n.peers[id]; d != nil && d.addr == other.addr {
		return d
	}
	d := NewDrive(n.client, other.addr, id, Options{Epoch: func() uint64 { return n.Map().Epoch }})
	n.peers[id] = d
	return d
}

// write writes chunks through connections, to the homes that are up.
func (c *nodes) write(chunks int, size int64) []placement.BlobID {
	c.t.Helper()
	m := c.current.Load()
	params := erasure.Params{K: m.K, M: m.M}
	code, err := c.codes.Code(params)
	if err != nil {
		c.t.Fatal(err)
	}
	var blobs []placement.BlobID
	var writing sync.WaitGroup
	limit := make(chan struct{}, 16)
	writer := c.node(0)
	for range chunks {
		var blob placement.BlobID
		_, _ = c.random.Read(blob[:]) // never fails
		blobs = append(blobs, blob)
		shards := make([][]byte, params.Shards())
		for i := range shards {
			shards[i] = make([]byte, erasure.ShardSize(params, size))
			if i < params.K {
				_, _ = c.random.Read(shards[i])
			}
		}
		limit <- struct{}{}
		writing.Go(func() {
			defer func() { <-limit }()
			if err := code.Encode(shards); err != nil {
				c.t.Error(err)
			}
			p := m.Partition(blob, 0)
			for i, home := range m.Homes(p) {
				h := shardstore.Header{ID: placement.ShardID{Blob: blob, Index: uint8(i)}, Partition: p, Epoch: m.Epoch, K: uint8(m.K), M: uint8(m.M), ChunkSize: uint32(size)}
				peer := writer.Peer(home)
				if peer == nil {
					continue
				}
				if err := peer.(storagenode.Drive).Put(context.Background(), h, shards[i]); err != nil {
					c.t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	return blobs
}

// await waits until every chunk has all its shards at home, and no transition is open.
func (c *nodes) await(chunks int, limit time.Duration) time.Duration {
	c.t.Helper()
	counter := storagenode.NewCounter(c.anyone(), nil)
	begun := time.Now()
	for {
		count, err := counter.Count(context.Background())
		if err == nil && count.Chunks == uint64(chunks) && count.Whole() == count.Chunks && len(c.current.Load().Open()) == 0 {
			return time.Since(begun)
		}
		if time.Since(begun) > limit {
			c.t.Fatalf("after %v: %+v, %v, %d open", limit, count, err, len(c.current.Load().Open()))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// anyone returns a node that is up.
func (c *nodes) anyone() *oneNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, n := range c.all {
		if !c.down[id] {
			return n
		}
	}
	c.t.Fatal("no node is up")
	return nil
}

func (c *nodes) dirs() (dirs []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.all {
		dirs = append(dirs, n.dir)
	}
	return dirs
}

// lose ends a node for ever.
func (c *nodes) lose(i int) {
	n := c.node(i)
	c.mu.Lock()
	delete(c.all, n.id)
	c.mu.Unlock()
	n.stop()
}

func TestNodesRebuild(t *testing.T) {
	for _, test := range []struct {
		name string
		lose func(c *nodes)
	}{
		{"an empty drive in the place of a full one", func(c *nodes) {
			c.lose(4)
			c.start(20, c.t.TempDir())
			c.repair(20)
			c.change(placement.ReplaceDrive{Old: nodeID(4), New: placement.Drive{ID: nodeID(20), Node: "n4", Weight: 1}})
		}},
		{"a node is given up", func(c *nodes) {
			c.lose(4)
			c.change(placement.SetState{ID: nodeID(4), State: placement.Out})
		}},
		{"a node is drained", func(c *nodes) { c.change(placement.SetState{ID: nodeID(4), State: placement.Draining}) }},
		{"a node is new", func(c *nodes) {
			c.start(20, c.t.TempDir())
			c.repair(20)
			c.change(placement.AddDrive{Drive: placement.Drive{ID: nodeID(20), Node: "n20", Weight: 1}})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := startNodes(t, 8, 32, 4, 2)
			c.repair(0, 1, 2, 3, 4, 5, 6, 7)
			blobs := c.write(40, 20000)
			test.lose(c)
			c.await(len(blobs), 20*time.Second)
			sum, err := audit.Audit(t.Context(), c.dirs(), nil)
			if err != nil || sum.Chunks != 40 || sum.Whole != 40 || sum.Damaged > 0 {
				t.Errorf("the auditor says %+v, %v", sum, err)
			}
		})
	}
}

// What is deleted while a node is away goes when it is back, and nothing rises from the dead.
func TestNodesDeletedStaysDeleted(t *testing.T) {
	c := startNodes(t, 8, 32, 4, 2)
	c.repair(0, 1, 2, 3, 4, 5, 6, 7)
	blobs := c.write(40, 5000)
	c.await(40, 20*time.Second)
	c.away(true, 2, 5)
	m := c.current.Load()
	for _, blob := range blobs[:20] {
		for i, home := range m.Homes(m.Partition(blob, 0)) {
			if peer := c.node(0).Peer(home); peer != nil {
				if err := peer.(interface {
					Delete(context.Context, []placement.ShardID) error
				}).Delete(t.Context(), []placement.ShardID{{Blob: blob, Index: uint8(i)}}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	c.away(false, 2, 5)
	c.node(2).r.CatchUp()
	c.node(5).r.CatchUp()
	c.await(20, 20*time.Second)
	dead := map[placement.BlobID]bool{}
	for _, blob := range blobs[:20] {
		dead[blob] = true
	}
	report, err := audit.Read(t.Context(), c.dirs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for id, shards := range report.Chunks {
		for _, s := range shards {
			if dead[id.Blob] && s.State == audit.Healthy {
				t.Fatalf("a shard of %v is left on drive %d", id, s.Drive)
			}
		}
	}
}

// A node that was away while others wrote gets its shards when it is back.
func TestNodesCatchUp(t *testing.T) {
	c := startNodes(t, 8, 32, 4, 2)
	c.repair(0, 1, 2, 3, 4, 5, 6, 7)
	c.away(true, 3)
	c.write(30, 5000)
	c.away(false, 3)
	c.node(3).r.CatchUp()
	c.await(30, 20*time.Second)
}

// BenchmarkNodesRebuild measures how fast an empty drive fills up where all others are behind connections: one
// of nine, with what 758 MB in 3,366 objects leave on it.
func BenchmarkNodesRebuild(b *testing.B) {
	const chunks, size = 3366, 225_000
	c := startNodes(b, 9, 1024, 4, 2)
	c.repair(0, 1, 2, 3, 5, 6, 7, 8)
	c.write(chunks, size)
	old, fresh := 4, 20
	b.SetBytes(erasure.ShardSize(erasure.Params{K: 4, M: 2}, size) * chunks * 6 / 9)
	var read, written uint64
	cpu := cpuTime()
	for b.Loop() {
		c.lose(old)
		c.start(fresh, b.TempDir())
		c.repair(fresh)
		c.change(placement.ReplaceDrive{Old: nodeID(old), New: placement.Drive{ID: nodeID(fresh), Node: "n4", Weight: 1}})
		c.await(chunks, 2*time.Minute)
		s := c.node(fresh).r.Status()
		read, written = read+s.ReadBytes, written+s.WrittenBytes
		old, fresh = fresh, fresh+1
	}
	b.ReportMetric(float64(read)/float64(written), "read/written")
	b.ReportMetric((cpuTime()-cpu).Seconds()/float64(b.N), "cpu-s/op")
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDrive measures one call.
func BenchmarkDrive(b *testing.B) {
	store := shardstore.NewMemory()
	n := serve(b, one(store))
	d := NewDrive(n.client, n.addr, testDrive, Options{})
	payload := make([]byte, 128<<10)
	binary.LittleEndian.PutUint64(payload, 1)
	h := testHeader
	if err := d.Put(b.Context(), h, payload); err != nil {
		b.Fatal(err)
	}
	b.Run("ReadAt 32 KiB", func(b *testing.B) {
		b.SetBytes(32 << 10)
		p := make([]byte, 32<<10)
		for b.Loop() {
			if err := d.ReadAt(b.Context(), h.ID, p, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Stat", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.Stat(b.Context(), h.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Put 128 KiB that is there", func(b *testing.B) {
		b.SetBytes(128 << 10)
		for b.Loop() {
			if err := d.Put(b.Context(), h, payload); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("1024 digests", func(b *testing.B) {
		partitions := make([]uint32, 1024)
		for i := range partitions {
			partitions[i] = uint32(i)
		}
		for b.Loop() {
			if _, err := d.Digests(b.Context(), partitions); err != nil {
				b.Fatal(err)
			}
		}
	})
}
