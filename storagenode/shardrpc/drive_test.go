package shardrpc

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

var (
	_ storagenode.Drive    = (*Drive)(nil)
	_ storagenode.Digester = (*Drive)(nil)
	_ storagenode.Stater   = (*Drive)(nil)
	_ storagenode.Dropper  = (*Drive)(nil)
	_ Fence                = (*storagenode.Fence)(nil)
	_ Store                = (*shardstore.Store)(nil)
	_ Store                = (*shardstore.Memory)(nil)
	_ Caller               = (*rpc.Client)(nil)
)

// node is a process that has drives, and one that calls it.
type node struct {
	addr   string
	client *rpc.Client
	server *rpc.Server
}

// serve starts a node with these drives.
func serve(t testing.TB, cfg ServerConfig) *node {
	t.Helper()
	s, err := secret.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := rpc.NewServer(rpc.Config{Self: rpc.Identity{Node: "s", Roles: rpc.Storage}, Secret: s})
	if err != nil {
		t.Fatal(err)
	}
	shards, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	shards.Handle(server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	client, err := rpc.NewClient(rpc.Config{Self: rpc.Identity{Node: "g", Roles: rpc.Gateway | rpc.Storage}, Secret: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
		<-served
	})
	return &node{l.Addr().String(), client, server}
}

// one is a ServerConfig with a single drive.
func one(store Store) ServerConfig {
	return ServerConfig{Drives: func(id placement.DriveID) Store {
		if id != testDrive {
			return nil
		}
		return store
	}}
}

// remote is a drive behind a connection with what the suite asks of a store beyond it.
type remote struct {
	*Drive
	local shardtest.Store
}

func (r remote) Usage() shardstore.Usage {
	u, err := r.Drive.Usage(context.Background())
	if err != nil {
		panic(err)
	}
	return u
}

func (r remote) Failed() <-chan struct{} { return r.local.Failed() }
func (r remote) Err() error              { return r.local.Err() }
func (r remote) Close() error            { return r.local.Close() }

func (r remote) Scrub(ctx context.Context, rate int64, report func(placement.ShardID, error)) error {
	return r.local.Scrub(ctx, rate, report)
}

func TestRemoteMemory(t *testing.T) {
	shardtest.Run(t, func(t *testing.T) shardtest.Store {
		store := shardstore.NewMemory()
		n := serve(t, one(store))
		return remote{NewDrive(n.client, n.addr, testDrive, Options{}), store}
	})
}

func TestRemoteDisk(t *testing.T) {
	shardtest.Run(t, func(t *testing.T) shardtest.Store {
		store, err := shardstore.Open(t.TempDir(), shardstore.Config{SegmentSize: 4 << 20, GrowBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		n := serve(t, one(store))
		return remote{NewDrive(n.client, n.addr, testDrive, Options{}), store}
	})
}

func TestErrorsComeThrough(t *testing.T) {
	for _, c := range codes {
		t.Run(c.err.Error(), func(t *testing.T) {
			sent := toWire(&shardstore.Error{Err: c.err})
			got := fromWire(testDrive, testID, sent)
			if !errors.Is(got, c.err) {
				t.Fatalf("got %v", got)
			}
			for _, other := range codes {
				if errors.Is(got, other.err) != errors.Is(c.err, other.err) {
					t.Errorf("it is %v, too", other.err)
				}
			}
			var of *shardstore.Error
			if !errors.As(got, &of) || of.Drive != testDrive || of.Shard != testID {
				t.Errorf("it does not say of which drive and shard: %v", got)
			}
		})
	}
	if epoch, ok := storagenode.StaleMap(fromWire(testDrive, testID, toWire(&storagenode.StaleMapError{Epoch: 9}))); !ok || epoch != 9 {
		t.Errorf("epoch %d, %v", epoch, ok)
	}
}

func TestDriveElsewhere(t *testing.T) {
	n := serve(t, one(shardstore.NewMemory()))
	d := NewDrive(n.client, n.addr, placement.DriveID{9}, Options{})
	if err := d.Put(t.Context(), testHeader, []byte("x")); !errors.Is(err, ErrNoDrive) {
		t.Errorf("got %v", err)
	}
	gone := NewDrive(n.client, "127.0.0.1:1", testDrive, Options{})
	if err := gone.ReadAt(t.Context(), testID, make([]byte, 1), 0); !errors.Is(err, rpc.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

// slowStore lets the lease end while it writes.
type slowStore struct {
	Store
	during func()
}

func (s slowStore) Put(ctx context.Context, h shardstore.Header, p []byte) error {
	s.during()
	return s.Store.Put(ctx, h, p)
}

// fakeFence says what it is told to.
type fakeFence struct {
	err   atomic.Pointer[error]
	heard atomic.Uint64
}

func (f *fakeFence) say(err error) { f.err.Store(&err) }

func (f *fakeFence) Admit(uint32, placement.DriveID, uint64) error {
	if p := f.err.Load(); p != nil {
		return *p
	}
	return nil
}

func (f *fakeFence) AdmitDrop(uint64, []placement.ShardID) error {
	return f.Admit(0, placement.DriveID{}, 0)
}
func (f *fakeFence) Heard(epoch uint64) { f.heard.Store(epoch) }

func (f *fakeFence) Await(context.Context) {}

func TestFencedWrites(t *testing.T) {
	fence := &fakeFence{}
	store := shardstore.NewMemory()
	during := func() {}
	cfg := one(slowStore{store, func() { during() }})
	cfg.Fence = fence
	n := serve(t, cfg)
	var stale atomic.Uint64
	d := NewDrive(n.client, n.addr, testDrive, Options{Epoch: func() uint64 { return 5 }, Stale: stale.Store})
	put := func(index uint8) error {
		h := testHeader
		h.ID.Index = index
		return d.Put(t.Context(), h, []byte("shard"))
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	fence.say(storagenode.ErrFenced)
	if err := put(1); !errors.Is(err, storagenode.ErrFenced) || store.Usage().Shards != 1 {
		t.Errorf("without a lease: %v, %d shards", err, store.Usage().Shards)
	}
	fence.say(nil)
	during = func() { fence.say(storagenode.ErrFenced) }
	if err := put(2); !errors.Is(err, storagenode.ErrFenced) {
		t.Errorf("the lease ended while it was written: %v", err)
	}
	during = func() {}
	fence.say(&storagenode.StaleMapError{Epoch: 8})
	if err := put(3); !errors.Is(err, storagenode.ErrStaleMap) || stale.Load() != 8 {
		t.Errorf("under an old map: %v, told %d", err, stale.Load())
	}
	if err := d.DropUnder(t.Context(), 5, []placement.ShardID{testID}); !errors.Is(err, storagenode.ErrStaleMap) {
		t.Errorf("dropped: %v", err)
	}
	if _, err := d.List(t.Context(), 0, placement.ShardID{}, 1); err != nil || fence.heard.Load() != 5 {
		t.Errorf("%v; heard %d", err, fence.heard.Load())
	}
}

func TestWrongPartition(t *testing.T) {
	m, err := placement.Birth(placement.ClusterID{}, 16, 1, 0, []placement.Drive{{ID: testDrive, Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := one(shardstore.NewMemory())
	cfg.Map = func() *placement.Map { return m }
	n := serve(t, cfg)
	d := NewDrive(n.client, n.addr, testDrive, Options{})
	h := testHeader
	h.Partition = m.Partition(h.ID.Blob, h.ID.Chunk)
	if err := d.Put(t.Context(), h, nil); err != nil {
		t.Error(err)
	}
	h.ID.Index, h.Partition = 2, (h.Partition+1)%16
	if err := d.Put(t.Context(), h, nil); !errors.Is(err, ErrRequest) {
		t.Errorf("got %v", err)
	}
}

// mangler flips a bit of each payload on its way.
type mangler struct{ *rpc.Client }

func (m mangler) Do(ctx context.Context, addr string, call *rpc.Call) (rpc.Reply, error) {
	if len(call.Body) > 0 {
		call.Body = bytes.Clone(call.Body)
		call.Body[0] ^= 1
	}
	reply, err := m.Client.Do(ctx, addr, call)
	if len(reply.Body) > 0 {
		reply.Body[0] ^= 1
	}
	return reply, err
}

func TestMangledPayloads(t *testing.T) {
	store := shardstore.NewMemory()
	n := serve(t, one(store))
	d := NewDrive(mangler{n.client}, n.addr, testDrive, Options{})
	if err := d.Put(t.Context(), testHeader, []byte("shard")); !errors.Is(err, ErrMangled) || store.Usage().Shards != 0 {
		t.Errorf("put: %v", err)
	}
	if err := store.Put(t.Context(), testHeader, []byte("shard")); err != nil {
		t.Fatal(err)
	}
	if err := d.ReadAt(t.Context(), testID, make([]byte, 5), 0); !errors.Is(err, ErrMangled) {
		t.Errorf("read: %v", err)
	}
}

// stuck is a drive that answers nothing until the caller gives up.
type stuck struct{ Store }

func (stuck) ReadAt(ctx context.Context, _ placement.ShardID, _ []byte, _ int64) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestStuckDriveIsGivenUp(t *testing.T) {
	n := serve(t, one(stuck{shardstore.NewMemory()}))
	d := NewDrive(n.client, n.addr, testDrive, Options{ReadTimeout: 50 * time.Millisecond})
	if err := d.ReadAt(t.Context(), testID, make([]byte, 1), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	store := shardstore.NewMemory()
	var hinted atomic.Int64
	cfg := one(store)
	cfg.Hint = func(placement.ShardID) { hinted.Add(1) }
	n := serve(t, cfg)
	d := NewDrive(n.client, n.addr, testDrive, Options{})
	var ids []placement.ShardID
	for i := range maxIDs + 10 {
		ids = append(ids, placement.ShardID{Chunk: uint32(i)})
	}
	h := testHeader
	h.ID = ids[maxIDs+1]
	if err := store.Put(t.Context(), h, []byte("x")); err != nil {
		t.Fatal(err)
	}
	store.Delete(t.Context(), ids[:1])
	found, err := d.Stats(t.Context(), ids)
	if err != nil || len(found) != len(ids) {
		t.Fatalf("%d, %v", len(found), err)
	}
	if !errors.Is(found[0].Err, shardstore.ErrDeleted) || !errors.Is(found[1].Err, shardstore.ErrNotFound) || found[maxIDs+1].Info.Header != h {
		t.Errorf("got %v, %v, %+v", found[0].Err, found[1].Err, found[maxIDs+1])
	}
	if err := Hint(t.Context(), n.client, n.addr, ids); err != nil || hinted.Load() != int64(len(ids)) {
		t.Errorf("%v, %d hints", err, hinted.Load())
	}
	digests, err := d.Digests(t.Context(), []uint32{0, h.Partition})
	if err != nil || digests[0].Count != 0 || digests[1].Count != 1 {
		t.Errorf("%+v, %v", digests, err)
	}
}
