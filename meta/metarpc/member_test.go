package metarpc

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
	"kintsugi/meta"
	"kintsugi/meta/metatest"
	"kintsugi/meta/raftnet"
	"kintsugi/meta/replica"
)

// quorum is three processes on loopback whose members replicate all groups, and a fourth one that has none.
type quorum struct {
	network
	secret *secret.Secret
	groups int
	client *Client
	nodes  []*node
}

// node is a process of a quorum.
type node struct {
	id     uint64
	server *rpc.Server
	served chan error
	client *rpc.Client
	member *replica.Member
	stop   sync.Once
}

func newQuorum(t *testing.T, groups int) *quorum {
	t.Helper()
	s, err := secret.Create(filepath.Join(t.TempDir(), "secret"))
	must(t, err)
	q := &quorum{secret: s, groups: groups, network: network{secret: s, addrs: map[uint64]string{}}}
	var voters []uint64
	var listeners []net.Listener
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		id := replica.NewHostID()
		voters, listeners = append(voters, id), append(listeners, l)
		q.addrs[id] = l.Addr().String()
	}
	for i, id := range voters {
		n := q.start(t, id, voters, listeners[i])
		q.nodes = append(q.nodes, n)
		t.Cleanup(func() { n.kill(t) })
	}
	q.client = q.network.client(t, rpc.Meta)
	q.client.cfg.Groups, q.client.leaders = groups, make([]atomic.Uint64, groups)
	return q
}

// Alive implements replica.Peers.
func (q *quorum) Alive() []uint64 { return q.Hosts() }

func (q *quorum) start(t *testing.T, id uint64, voters []uint64, l net.Listener) *node {
	t.Helper()
	n := &node{id: id, served: make(chan error, 1)}
	cfg := rpc.Config{Self: rpc.Identity{Node: fmt.Sprint(id), Roles: rpc.Meta, Incarnation: id}, Secret: q.secret}
	var err error
	n.client, err = rpc.NewClient(cfg)
	must(t, err)
	n.server, err = rpc.NewServer(cfg)
	must(t, err)
	transport, err := raftnet.New(raftnet.Config{Client: n.client, Resolve: q.AddrOf})
	must(t, err)
	transport.Handle(n.server)
	var member atomic.Pointer[replica.Member]
	Handle(n.server, func() Local {
		if m := member.Load(); m != nil {
			return m
		}
		return nil
	})
	go func() { n.served <- n.server.Serve(l) }()
	n.member, err = replica.Found(replica.MemberConfig{Groups: q.groups, Transport: transport, Peers: q}, replica.Drive{Dir: t.TempDir()}, id, voters)
	must(t, err)
	member.Store(n.member)
	return n
}

// kill ends a process: first its connections, so that nobody hears of it.
func (n *node) kill(t *testing.T) {
	n.stop.Do(func() {
		must(t, n.server.Close())
		must(t, <-n.served)
		must(t, n.client.Close())
		must(t, n.member.Close())
	})
}

// leader returns the process that leads a group, nil if none does.
func (q *quorum) leader(group uint32) *node {
	for _, n := range q.nodes {
		if n.member.Leader(group) == n.id {
			return n
		}
	}
	return nil
}

// TestSuiteOnMembers runs the suite on one quorum, which is emptied after each test: to found one takes an election.
func TestSuiteOnMembers(t *testing.T) {
	t.Parallel()
	client := meta.NewClient(newQuorum(t, metatest.Groups).client)
	metatest.Run(t, func(t testing.TB) *meta.Client {
		t.Cleanup(func() { metatest.Empty(t, client) })
		return client
	})
}

// TestLeaderOfMembersDies kills the leader while many write. Nothing that was acknowledged is lost, nobody is told an error, and
// no writer waits for long.
func TestLeaderOfMembersDies(t *testing.T) {
	t.Parallel()
	q := newQuorum(t, 2)
	client := meta.NewClient(q.client)
	must(t, client.CreateBucket(t.Context(), meta.Bucket{Name: bucket}))
	stop := make(chan struct{})
	var slowest atomic.Int64 // nanoseconds
	var written [4]int
	var writers sync.WaitGroup
	for w := range written {
		writers.Go(func() { written[w] = writeUntil(t, client, w, stop, &slowest) })
	}
	time.AfterFunc(300*time.Millisecond, func() {
		if n := q.leader(0); n != nil {
			n.kill(t)
		}
		time.AfterFunc(2*time.Second, func() { close(stop) })
	})
	writers.Wait()
	t.Logf("the slowest write took %v", time.Duration(slowest.Load()))
	if took := time.Duration(slowest.Load()); took > 3*time.Second { // 1.5 s on a machine of its own
		t.Errorf("a write took %v", took)
	}
	for w, n := range written {
		for i := range n {
			key := fmt.Sprint(w, "/", i)
			if _, err := client.Object(t.Context(), meta.GetObject{Bucket: bucket, Key: key}); err != nil {
				t.Errorf("%s was acknowledged: %v", key, err)
			}
		}
	}
}

// TestMinorityOfMembers kills two of three: nobody can write, and eventual reads go on.
func TestMinorityOfMembers(t *testing.T) {
	t.Parallel()
	q := newQuorum(t, 2)
	client := meta.NewClient(q.client)
	must(t, client.CreateBucket(t.Context(), meta.Bucket{Name: bucket}))
	_, err := client.PutObject(t.Context(), inline("key", "body"))
	must(t, err)
	get := meta.GetObject{Bucket: bucket, Key: "key", Body: true, Consistency: meta.Eventual}
	eventually(t, "the last one has the object", func() error { return holds(t, q.nodes[2].member, q.groups) })
	q.nodes[0].kill(t)
	q.nodes[1].kill(t)
	eventually(t, "it knows that there is no leader", func() error {
		if len(q.nodes[2].member.Leads()) > 0 || q.nodes[2].member.Leader(0) != 0 || q.nodes[2].member.Leader(1) != 0 {
			return errors.New("it follows or leads")
		}
		return nil
	})
	if v, err := client.Object(t.Context(), get); err != nil || string(v.Body) != "body" {
		t.Errorf("an eventual read: %q, %v", v.Body, err)
	}
	get.Consistency = meta.Linearizable
	if _, err := client.Object(t.Context(), get); !errors.Is(err, meta.ErrUnavailable) {
		t.Errorf("a linearizable read: %v", err)
	}
}

// holds tells whether a member has the object of the test, in whichever group it is.
func holds(t *testing.T, m *replica.Member, groups int) error {
	var err error
	for group := range groups {
		get := meta.GetObject{Bucket: bucket, Key: "key"}
		if _, err = m.Query(t.Context(), group, get, meta.Eventual); err == nil {
			return nil
		}
	}
	return err
}

// eventually waits for what must come.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// writeUntil puts new keys under a condition that holds only for the first attempt, and returns how many.
func writeUntil(t *testing.T, client *meta.Client, writer int, stop chan struct{}, slowest *atomic.Int64) int {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return i
		default:
		}
		put := inline(fmt.Sprint(writer, "/", i), "body")
		put.Condition.IfNoneMatch = true
		began := time.Now()
		if _, err := client.PutObject(t.Context(), put); err != nil {
			t.Errorf("put %d/%d: %v, precondition %v", writer, i, err, errors.Is(err, meta.ErrPrecondition))
		}
		if took := int64(time.Since(began)); took > slowest.Load() {
			slowest.Store(took)
		}
	}
}
