package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
	"kintsugi/meta"
	"kintsugi/meta/membership"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardstore"
)

// fakeNode is a process of a cluster that exists on paper only. It implements all that a server needs.
type fakeNode struct {
	mu      sync.Mutex // guards the following
	facts   *Facts
	peers   []membership.Peer // beside the nodes without metadata
	leader  string            // address of the coordinator; self: this one
	self    string
	orders  membership.Orders
	objects map[string]meta.Version
	buckets map[string]meta.Bucket
	shards  map[placement.ShardID]placement.DriveID
}

func (n *fakeNode) Leading() bool { return n.Leader() == n.self }

func (n *fakeNode) Leader() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leader
}

func (n *fakeNode) follow(leader string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leader = leader
}

func (n *fakeNode) Status() ([]membership.NodeStatus, error) { return n.facts.Members, nil }

func (n *fakeNode) Peers() []membership.Peer {
	peers := slices.Clone(n.peers)
	for _, m := range n.facts.Members {
		if m.Beat.Node.Roles&rpc.Meta == 0 { // addresses of metadata nodes that exist on paper would be asked
			peers = append(peers, membership.Peer{Node: membership.Node{Name: m.Beat.Node.Name}, Up: m.Up})
		}
	}
	return peers
}

func (n *fakeNode) Self() membership.Node {
	return membership.Node{Name: "m1", Addr: "10.0.0.1:9002", Roles: rpc.Meta, Host: 1}
}

func (n *fakeNode) Orders() membership.Orders { return n.orders }

func (n *fakeNode) Map() *placement.Map {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.facts.Map
}

func (n *fakeNode) Change(_ context.Context, edit func(*placement.Map) (*placement.Map, error)) (*placement.Map, error) {
	next, err := edit(n.Map())
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.facts.Map = next
	return next, nil
}

func (n *fakeNode) SetOrders(edit func(*membership.Orders)) (membership.Orders, error) {
	edit(&n.orders)
	n.orders.Serial++
	return n.orders, nil
}

func (n *fakeNode) Object(_ context.Context, get meta.GetObject) (meta.Version, error) {
	if v, ok := n.objects[get.Bucket+"/"+get.Key]; ok {
		return v, nil
	}
	if get.Key == "marker" {
		return meta.Version{}, &meta.MarkerError{}
	}
	return meta.Version{}, meta.ErrNoSuchKey
}

func (n *fakeNode) Bucket(_ context.Context, name string, _ meta.Consistency) (meta.Bucket, error) {
	if b, ok := n.buckets[name]; ok {
		return b, nil
	}
	return meta.Bucket{}, meta.ErrNoSuchBucket
}

func (n *fakeNode) SetConsistency(_ context.Context, name string, c meta.Consistency) error {
	b, ok := n.buckets[name]
	if !ok {
		return meta.ErrNoSuchBucket
	}
	b.Consistency = c
	n.buckets[name] = b
	return nil
}

// Peer returns a drive whose node is up.
func (n *fakeNode) Peer(id placement.DriveID) storagenode.Peer {
	if d := driveMap(n.facts)[id]; d == nil || !d.live() {
		return nil
	}
	return fakePeer{n: n, id: id}
}

// fakePeer knows only whether a shard is there.
type fakePeer struct {
	storagenode.Peer
	n  *fakeNode
	id placement.DriveID
}

func (p fakePeer) Stat(_ context.Context, id placement.ShardID) (shardstore.Info, error) {
	if p.n.shards[id] != p.id {
		return shardstore.Info{}, &shardstore.Error{Drive: p.id, Shard: id, Err: shardstore.ErrNotFound}
	}
	return shardstore.Info{Size: 3 << 20}, nil
}

func (p fakePeer) ReadAt(_ context.Context, id placement.ShardID, _ []byte, off int64) error {
	if id.Index == 5 && off > 0 { // damage that only reading finds
		return &shardstore.Error{Drive: p.id, Shard: id, Err: shardstore.ErrCorrupt}
	}
	return nil
}

// startNode serves n on loopback and returns its address.
func startNode(t *testing.T, n *fakeNode, s *secret.Secret) string {
	t.Helper()
	server, err := NewServer(Config{
		Coordinator: n, Directory: n, Cluster: n, Meta: n,
		Groups:     func() []GroupFacts { return n.facts.Groups },
		Redundancy: func(context.Context) (storagenode.Redundancy, error) { return *n.facts.Redundancy, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := rpc.NewServer(rpc.Config{Self: rpc.Identity{Node: "m1", Roles: rpc.Meta, Incarnation: 1}, Secret: s})
	if err != nil {
		t.Fatal(err)
	}
	server.Handle(r)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = r.Serve(l) // ends with Close
	}()
	t.Cleanup(func() {
		_ = r.Close()
		<-served
	})
	return l.Addr().String()
}

func newSecret(t *testing.T) *secret.Secret {
	t.Helper()
	s, err := secret.Create(filepath.Join(t.TempDir(), "cluster.secret"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newTestClient(t *testing.T, s *secret.Secret, addrs ...string) *Client {
	t.Helper()
	c, err := rpc.NewClient(rpc.Config{Self: rpc.Identity{Node: "admin", Roles: rpc.Admin, Incarnation: 2}, Secret: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	client := NewClient(c, addrs)
	client.search = 500 * time.Millisecond
	return client
}

// newFakeNode is a coordinator of nine storage nodes with one object of three chunks.
func newFakeNode(t *testing.T) *fakeNode {
	f := testFacts(t, 9)
	n := &fakeNode{
		facts: f, leader: "self", self: "self", shards: map[placement.ShardID]placement.DriveID{},
		objects: map[string]meta.Version{}, buckets: map[string]meta.Bucket{"photos": {Name: "photos"}},
	}
	blob := meta.Blob{ID: placement.BlobID{9}, Size: 20 << 20, ChunkSize: 8 << 20, Runs: []meta.Run{{Chunks: 3, K: 4, M: 2, Epoch: 1}}}
	n.objects["photos/a.jpg"] = meta.Version{ID: 5, Size: blob.Size, ETag: "e", Modified: now, Blobs: []meta.Blob{blob}}
	n.objects["photos/small"] = meta.Version{Size: 3, Modified: now, Inline: true}
	for chunk := range uint32(3) {
		for i, home := range f.Map.Homes(f.Map.Partition(blob.ID, chunk)) {
			n.shards[placement.ShardID{Blob: blob.ID, Chunk: chunk, Index: uint8(i)}] = home
		}
	}
	return n
}

func TestServer(t *testing.T) {
	s, n := newSecret(t), newFakeNode(t)
	c := newTestClient(t, s, startNode(t, n, s))
	ctx := t.Context()

	status, err := c.Status(ctx, true)
	if err != nil || status.Health != Healthy || status.Chunks == nil || len(status.Drives) != 9 {
		t.Fatalf("status: %+v, %v", status, err)
	}
	plan, err := c.Plan(ctx, Change{Kind: Drain, Target: "n3"})
	if err != nil || plan.Applied || n.Map().Epoch != 1 {
		t.Fatalf("plan: %+v, %v", plan, err)
	}
	change, err := c.Change(ctx, Change{Kind: Drain, Target: "n3"})
	if err != nil || !change.Applied || change.Ring != plan.Ring || change.Moves != plan.Moves || ringHash(n.Map()) != plan.Ring {
		t.Fatalf("change: %+v, %v; the plan was %+v", change, err, plan)
	}
	if _, err := c.Change(ctx, Change{Kind: Remove, Target: "n3"}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "wait until") {
		t.Errorf("removing what still drains: %v", err)
	}
	if _, err := c.Change(ctx, Change{Kind: AddNode, Drives: 1}); !errors.Is(err, ErrRefused) {
		t.Errorf("add-node was made: %v", err)
	}
	if _, err := c.Change(ctx, Change{Kind: "explode", Target: "n3"}); !errors.Is(err, ErrFormat) {
		t.Errorf("an unknown change: %v", err)
	}

	limit := int64(1 << 20)
	order, err := c.Order(ctx, OrderRequest{RepairLimit: &limit, Rebuild: true})
	if want := (Order{Format: Format, Serial: 1, RepairLimit: limit, RepairSerial: 1}); err != nil || order != want {
		t.Errorf("order: %+v, %v", order, err)
	}
	order, err = c.Order(ctx, OrderRequest{Scrub: true})
	if want := (Order{Format: Format, Serial: 2, RepairLimit: limit, RepairSerial: 1, ScrubSerial: 1}); err != nil || order != want {
		t.Errorf("second order: %+v, %v", order, err)
	}

	if _, err := c.Consistency(ctx, "photos", Eventual); err != nil {
		t.Error(err)
	}
	if got, err := c.Consistency(ctx, "photos", ""); err != nil || got.Consistency != Eventual {
		t.Errorf("consistency: %+v, %v", got, err)
	}
	for name, call := range map[string]func() error{
		"consistency of no bucket": func() error { _, err := c.Consistency(ctx, "nope", ""); return err },
		"no consistency":           func() error { _, err := c.Consistency(ctx, "photos", "perhaps"); return err },
		"why of no key":            func() error { _, err := c.Why(ctx, WhyRequest{Bucket: "photos", Key: "nope"}); return err },
		"why of a marker":          func() error { _, err := c.Why(ctx, WhyRequest{Bucket: "photos", Key: "marker"}); return err },
		"why of no version": func() error {
			_, err := c.Why(ctx, WhyRequest{Bucket: "photos", Key: "a.jpg", Version: "x"})
			return err
		},
	} {
		if err := call(); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServerWhy(t *testing.T) {
	s, n := newSecret(t), newFakeNode(t)
	c := newTestClient(t, s, startNode(t, n, s))
	ask := func(r WhyRequest) Why {
		t.Helper()
		r.Bucket = "photos"
		w, err := c.Why(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	if w := ask(WhyRequest{Key: "a.jpg"}); w.Health != Healthy || w.By.Whole != 3 || w.Chunks != 3 || w.Next != 0 {
		t.Errorf("a whole object: %+v", w)
	}
	if w := ask(WhyRequest{Key: "small"}); !w.Inline || w.Health != Healthy {
		t.Errorf("an inline object: %+v", w)
	}
	first := ask(WhyRequest{Key: "a.jpg", Max: 2})
	rest := ask(WhyRequest{Key: "a.jpg", From: first.Next})
	if first.Next != 2 || rest.Next != 0 || len(rest.Detail) != 1 || rest.Detail[0].Chunk != 2 {
		t.Errorf("two pages: %+v\n%+v", first, rest)
	}
	if w := ask(WhyRequest{Key: "a.jpg", Verify: true}); w.Health != Degraded || w.Detail[0].Shards[5].State != shardCorrupt {
		t.Errorf("verified: %+v", w)
	}
	n.facts.kill("n1")
	if w := ask(WhyRequest{Key: "a.jpg"}); w.Health != Degraded || !strings.Contains(w.Conclusion, "of n1") {
		t.Errorf("without n1: %s", w.Conclusion)
	}
}

// TestFindCoordinator starts at a node that is not the one, whose peers are not all there.
func TestFindCoordinator(t *testing.T) {
	s := newSecret(t)
	chief := newFakeNode(t)
	chiefAddr := startNode(t, chief, s)
	other := newFakeNode(t)
	other.leader = chiefAddr
	otherAddr := startNode(t, other, s)
	dead := deadAddr(t)

	for name, addrs := range map[string][]string{"another": {otherAddr}, "dead first": {dead, otherAddr}, "itself": {chiefAddr}} {
		if st, err := newTestClient(t, s, addrs...).Status(t.Context(), false); err != nil || st.Coordinator != "10.0.0.1:9002" {
			t.Errorf("%s: %+v, %v", name, st.Coordinator, err)
		}
	}
	if _, err := newTestClient(t, newSecret(t), chiefAddr).Status(t.Context(), false); !errors.Is(err, ErrNobody) || !strings.Contains(err.Error(), "--cluster-secret-file") {
		t.Errorf("with another secret: %v", err)
	}
	if _, err := newTestClient(t, s, dead).Status(t.Context(), false); !errors.Is(err, ErrNobody) || !strings.Contains(err.Error(), dead) {
		t.Errorf("with nobody there: %v", err)
	}
}

// TestCoordinatorMoves expects a client that has found one to notice that it is another.
func TestCoordinatorMoves(t *testing.T) {
	s := newSecret(t)
	first, second := newFakeNode(t), newFakeNode(t)
	firstAddr, secondAddr := startNode(t, first, s), startNode(t, second, s)
	second.follow(firstAddr)
	second.orders.Serial = 77
	c := newTestClient(t, s, firstAddr)
	for _, step := range []struct {
		name          string
		first, second string
		want          uint64
		coordinated   bool
	}{
		{"the first", "self", firstAddr, 0, true},
		{"the second", secondAddr, "self", 77, true},
		{"nobody", "", "", 0, false},
		{"the second again", secondAddr, "self", 77, true},
	} {
		first.follow(step.first)
		second.follow(step.second)
		st, err := c.Status(t.Context(), false)
		if err != nil || st.Orders.Serial != step.want || (st.Coordinator != "") != step.coordinated {
			t.Errorf("%s: orders %d, coordinator %q, %v", step.name, st.Orders.Serial, st.Coordinator, err)
		}
	}
}

// deadAddr is an address where nobody listens.
func deadAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestNoCoordinator expects what one process knows where none decides, and no change.
func TestNoCoordinator(t *testing.T) {
	s, n := newSecret(t), newFakeNode(t)
	n.leader = deadAddr(t) // it does not know yet
	n.peers = []membership.Peer{{Node: membership.Node{Name: "m2", Addr: n.leader, Host: 2}, Up: true}}
	c := newTestClient(t, s, startNode(t, n, s))
	st, err := c.Status(t.Context(), true)
	if err != nil || st.Health != Unavailable || st.Coordinator != "" || len(st.Nodes) != 11 {
		t.Errorf("status: %s with %d nodes, %v", st.Health, len(st.Nodes), err)
	}
	for _, node := range st.Nodes {
		if node.Up != (node.Name != "m2") {
			t.Errorf("node %s is up: %t", node.Name, node.Up)
		}
	}
	if _, err := c.Change(t.Context(), Change{Kind: Drain, Target: "n3"}); !errors.Is(err, ErrNoCoordinator) {
		t.Errorf("change: %v", err)
	}
}

// TestStranger expects that only operators get answers.
func TestStranger(t *testing.T) {
	s, n := newSecret(t), newFakeNode(t)
	addr := startNode(t, n, s)
	c, err := rpc.NewClient(rpc.Config{Self: rpc.Identity{Node: "g1", Roles: rpc.Gateway | rpc.Storage | rpc.Meta, Incarnation: 2}, Secret: s})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for m := MethodWho; m <= MethodConsistency; m++ {
		_, err := c.Do(t.Context(), addr, &rpc.Call{Method: m, Head: []byte(`{"format":1}`)})
		if !errors.Is(err, rpc.ErrRefused) {
			t.Errorf("method %d for a gateway: %v", m, err)
		}
	}
}

func TestRequestVersions(t *testing.T) {
	for head, want := range map[string]bool{
		`{"format":1}`: true, `{"format":1,"later":true}`: true, `{}`: false, `{"format":2}`: false, ``: false, `[]`: false,
		fmt.Sprintf(`{"format":1,"x":%q}`, strings.Repeat("x", MaxRequest)): false,
	} {
		var r StatusRequest
		if err := decodeRequest([]byte(head), &r); (err == nil) != want {
			t.Errorf("%.40s: %v", head, err)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"format":1,"change":{"kind":"drain","target":"n3","weight":7}}`))
	f.Fuzz(func(t *testing.T, head []byte) {
		var r ChangeRequest
		if decodeRequest(head, &r) != nil {
			return
		}
		facts := testFacts(t, 9)
		next, err := r.Change.Next(facts)
		if err != nil {
			return
		}
		if err := next.Validate(); err != nil {
			t.Fatal(err)
		}
		MakePlan(facts, r.Change, next)
	})
}
