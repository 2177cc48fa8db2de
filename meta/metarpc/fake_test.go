package metarpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/meta/metatest"
	"kintsugi/meta/raftgroup"
)

// fakeCluster is replicas that share one state machine: all have applied all. It is the Directory and the network of
// its clients, too: an address is the text of an id.
type fakeCluster struct {
	*metatest.Direct

	mu      sync.Mutex // guards all below
	leader  uint64     // of all groups, 0: none
	hosts   map[uint64]*fakeHost
	latency time.Duration // of every call
}

type fakeHost struct {
	cluster  *fakeCluster
	id       uint64
	dead     bool // refuses connections
	stopped  bool // takes calls and never answers
	dropping int  // executes as many calls and loses the answers
	hint     uint64
	asked    int
	fails    error // what it answers
	lost     bool  // knows no leader
}

const fakeHosts = 3

func newFakeCluster(t testing.TB) *fakeCluster {
	t.Helper()
	c := &fakeCluster{Direct: metatest.NewDirect(t, metatest.Groups), leader: 1, hosts: map[uint64]*fakeHost{}}
	for id := uint64(1); id <= fakeHosts; id++ {
		c.hosts[id] = &fakeHost{cluster: c, id: id}
	}
	return c
}

// client returns a client in a process whose replica is that of the host self, 0 for none.
func (c *fakeCluster) client(t testing.TB, self uint64) *Client {
	t.Helper()
	cfg := Config{Directory: c, Self: self, Groups: metatest.Groups}
	if self != 0 {
		cfg.Local = func() Local { return c.hosts[self] }
	}
	client, err := newClient(cfg, c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// change changes what the hosts do.
func (c *fakeCluster) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *fakeCluster) AddrOf(host uint64) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(host), c.hosts[host] != nil
}

func (c *fakeCluster) Hosts() []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]uint64, 0, len(c.hosts))
	for id := range c.hosts {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Do implements caller.
func (c *fakeCluster) Do(ctx context.Context, addr string, call *rpc.Call) (rpc.Reply, error) {
	var id uint64
	if _, err := fmt.Sscan(addr, &id); err != nil {
		return rpc.Reply{}, err
	}
	c.mu.Lock()
	h, dead, latency := c.hosts[id], c.hosts[id].dead, c.latency
	c.mu.Unlock()
	if dead {
		return rpc.Reply{}, fmt.Errorf("%s: %w", addr, rpc.ErrUnreachable)
	}
	select {
	case <-ctx.Done():
		return rpc.Reply{}, ctx.Err()
	case <-time.After(latency):
	}
	var head, body []byte
	var err error
	if call.Method == MethodPropose {
		head, body, err = propose(ctx, h, call.Head, slices.Clone(call.Body))
	} else {
		head, body, err = query(ctx, h, call.Head)
	}
	if errors.Is(err, errDropped) {
		return rpc.Reply{}, fmt.Errorf("%s: %w", addr, rpc.ErrBroken)
	}
	if err != nil {
		return rpc.Reply{}, faultOf(err).status()
	}
	return rpc.Reply{Head: head, Body: body}, nil
}

var errDropped = errors.New("the answer was lost")

// Propose implements Local.
func (h *fakeHost) Propose(ctx context.Context, group int, cmd []byte) (any, error) {
	return h.answer(ctx, true, func() (any, error) { return h.cluster.Direct.Propose(ctx, group, cmd) })
}

// QueryAlone implements aloneReader.
func (h *fakeHost) QueryAlone(ctx context.Context, group int, q any) (any, error) {
	return h.answer(ctx, false, func() (any, error) { return h.cluster.Direct.Query(ctx, group, q, meta.Eventual) })
}

// Query implements Local.
func (h *fakeHost) Query(ctx context.Context, group int, q any, c meta.Consistency) (any, error) {
	h.cluster.mu.Lock()
	lost := h.lost
	h.cluster.mu.Unlock()
	if lost {
		return nil, &raftgroup.NotLeaderError{}
	}
	return h.answer(ctx, c == meta.Linearizable, func() (any, error) { return h.cluster.Direct.Query(ctx, group, q, c) })
}

// answer does what the host does at this moment.
func (h *fakeHost) answer(ctx context.Context, leads bool, call func() (any, error)) (any, error) {
	c := h.cluster
	c.mu.Lock()
	h.asked++
	stopped, fails, dropping := h.stopped, h.fails, h.dropping > 0
	notLeader := &raftgroup.NotLeaderError{Leader: c.leader}
	if h.hint != 0 {
		notLeader.Leader = h.hint
	}
	elsewhere := leads && c.leader != h.id
	if dropping && !elsewhere {
		h.dropping--
	}
	c.mu.Unlock()
	switch {
	case stopped:
		<-ctx.Done()
		return nil, ctx.Err()
	case elsewhere:
		return nil, notLeader
	case fails != nil:
		return nil, fails
	}
	result, err := call()
	if dropping {
		return nil, errDropped
	}
	return result, err
}

func (c *fakeCluster) askedOf(id uint64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hosts[id].asked
}
