package metarpc

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
	"kintsugi/meta"
	"kintsugi/meta/metatest"
	"kintsugi/placement"
)

// network is processes on loopback that have a replica each.
type network struct {
	secret *secret.Secret
	addrs  map[uint64]string
}

func (n *network) AddrOf(host uint64) (string, bool) {
	addr, ok := n.addrs[host]
	return addr, ok
}

func (n *network) Hosts() []uint64 {
	var hosts []uint64
	for host := range n.addrs {
		hosts = append(hosts, host)
	}
	return hosts
}

func newNetwork(t testing.TB, locals map[uint64]func() Local) *network {
	t.Helper()
	s, err := secret.Create(filepath.Join(t.TempDir(), "secret"))
	must(t, err)
	n := &network{secret: s, addrs: make(map[uint64]string)}
	for host, local := range locals {
		server, err := rpc.NewServer(rpc.Config{Self: rpc.Identity{Node: "meta", Roles: rpc.Meta, Incarnation: host}, Secret: s})
		must(t, err)
		Handle(server, local)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		n.addrs[host] = l.Addr().String()
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		t.Cleanup(func() {
			must(t, server.Close())
			must(t, <-served)
		})
	}
	return n
}

// client returns a client in a process of the given roles that has no replica.
func (n *network) client(t testing.TB, roles rpc.Role) *Client {
	t.Helper()
	calls, err := rpc.NewClient(rpc.Config{Self: rpc.Identity{Node: "client", Roles: roles, Incarnation: 99}, Secret: n.secret})
	must(t, err)
	t.Cleanup(func() { must(t, calls.Close()) })
	c, err := New(Config{RPC: calls, Directory: n, Groups: metatest.Groups})
	must(t, err)
	return c
}

// overLoopback puts the hosts of a cluster behind real connections.
func overLoopback(t testing.TB, c *fakeCluster) *network {
	locals := make(map[uint64]func() Local)
	for id, h := range c.hosts {
		locals[id] = func() Local { return h }
	}
	return newNetwork(t, locals)
}

func TestSuiteOverTheNetwork(t *testing.T) {
	metatest.Run(t, func(t testing.TB) *meta.Client {
		c := newFakeCluster(t)
		c.leader = 2
		return meta.NewClient(overLoopback(t, c).client(t, rpc.Meta))
	})
}

// A process without a replica says so, and the others are asked.
func TestNoReplicaYet(t *testing.T) {
	c := newFakeCluster(t)
	c.leader = 2
	none := func() Local { return nil }
	n := newNetwork(t, map[uint64]func() Local{1: none, 2: func() Local { return c.hosts[2] }, 3: none})
	client := meta.NewClient(n.client(t, rpc.Gateway))
	for range 4 {
		must(t, ignore(client.CreateBucket(t.Context(), meta.Bucket{Name: bucket}), meta.ErrBucketExists))
	}
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// A storage node may ask, and may not change anything.
func TestStorageMayOnlyAsk(t *testing.T) {
	n := overLoopback(t, newFakeCluster(t))
	must(t, meta.NewClient(n.client(t, rpc.Gateway)).CreateBucket(t.Context(), meta.Bucket{Name: bucket}))
	c := n.client(t, rpc.Storage)
	c.cfg.Patience = minPause * 100
	client := meta.NewClient(c)
	if _, err := client.Bucket(t.Context(), bucket, meta.Linearizable); err != nil {
		t.Errorf("a question: %v", err)
	}
	_, err := client.PutObject(t.Context(), inline("key", "body"))
	if !errors.Is(err, meta.ErrUnavailable) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a change: %v", err)
	}
}

// A gateway must not change the cluster map, though it may change everything that its users may.
func TestGatewayMayNotChangeTheMap(t *testing.T) {
	n := overLoopback(t, newFakeCluster(t))
	m, err := placement.Birth(placement.ClusterID{1}, 8, 1, 0, []placement.Drive{{ID: placement.DriveID{1}, Node: "a", Weight: 1}})
	must(t, err)
	gateway := meta.NewClient(n.client(t, rpc.Gateway))
	if err := gateway.SetClusterMap(t.Context(), m); !errors.Is(err, meta.ErrFormat) {
		t.Errorf("a gateway set the cluster map: %v", err)
	}
	if got, err := gateway.ClusterMap(t.Context()); got != nil || err != nil {
		t.Errorf("the map is %v, %v", got, err)
	}
	must(t, meta.NewClient(n.client(t, rpc.Meta|rpc.Gateway)).SetClusterMap(t.Context(), m))
}

// ready is a Local that has the answer at hand: benchmarks see the way, not the state machine.
type ready struct{ answer any }

func (r ready) Propose(context.Context, int, []byte) (any, error) { return r.answer, nil }
func (r ready) Query(context.Context, int, any, meta.Consistency) (any, error) {
	return r.answer, nil
}

func benchVersion() meta.Version {
	v := filled[meta.Version]()
	v.ETag = "d41d8cd98f00b204e9800998ecf8427e"
	v.Headers = meta.Headers{ContentType: "binary/octet-stream"}
	v.Checksum = meta.Checksum{Algorithm: meta.CRC64NVME, Value: make([]byte, 8)}
	v.Blobs, v.Parts, v.Body = nil, nil, make([]byte, 4096)
	return v
}

// reportCPU measures the time on processors from now on: that of both sides, whatever else the machine does.
func reportCPU(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	began := used()
	return func() { b.ReportMetric(float64((used()-began).Nanoseconds())/float64(b.N), "cpu-ns/op") }
}

// BenchmarkGetObject reads an object of 4 KiB that is kept with its metadata over loopback.
func BenchmarkGetObject(b *testing.B) {
	local := ready{benchVersion()}
	client := newNetwork(b, map[uint64]func() Local{1: func() Local { return local }}).client(b, rpc.Gateway)
	q := meta.GetObject{Bucket: bucket, Key: "some/key/of/usual/length", Body: true}
	b.SetBytes(4096)
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		if _, err := client.Query(b.Context(), 1, q, meta.Linearizable); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPropose sends a PutObject of 4 KiB over loopback.
func BenchmarkPropose(b *testing.B) {
	local := ready{meta.Put{Version: 1, ETag: "d41d8cd98f00b204e9800998ecf8427e", Modified: 1}}
	client := newNetwork(b, map[uint64]func() Local{1: func() Local { return local }}).client(b, rpc.Gateway)
	cmd := make([]byte, 4500)
	b.SetBytes(int64(len(cmd)))
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		if _, err := client.Propose(b.Context(), 1, cmd); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCodec encodes and decodes answers without a network.
func BenchmarkCodec(b *testing.B) {
	page := meta.ListPage{}
	for range 1000 {
		v := benchVersion()
		v.Body = nil
		page.Entries = append(page.Entries, meta.ListEntry{Name: v.Key, Version: v})
	}
	for name, answer := range map[string]any{"version": benchVersion(), "page": page, "put": meta.Put{ETag: "etag"}, "bucket": filled[meta.Bucket]()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				head, body, err := encodeResult(answer)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := decodeResult(head, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
