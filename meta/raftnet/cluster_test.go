package raftnet

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
	"kintsugi/meta/raftgroup"
)

// cluster is a number of hosts that talk over loopback, each as in a process of its own.
type cluster struct {
	t      testing.TB
	secret *secret.Secret
	groups int
	first  []uint64
	nodes  map[uint64]*node
	ticks  int // of an election

	mu    sync.Mutex // guards the following
	addrs map[uint64]string
	cuts  map[[2]uint64]bool // from, to
}

type node struct {
	id        uint64
	dir       string
	client    *rpc.Client
	server    *rpc.Server
	transport *Transport
	host      *raftgroup.Host
	machine   *listMachine
	served    chan error
}

func startCluster(t testing.TB, groups int, ids ...uint64) *cluster {
	t.Helper()
	return startWithTicks(t, 7, groups, ids...)
}

// startWithTicks is startCluster with elections that begin after so many ticks.
func startWithTicks(t testing.TB, ticks, groups int, ids ...uint64) *cluster {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	sec, err := secret.Create(path)
	must(t, err)
	c := &cluster{
		t: t, secret: sec, groups: groups, first: ids, ticks: ticks,
		nodes: map[uint64]*node{}, addrs: map[uint64]string{}, cuts: map[[2]uint64]bool{},
	}
	for _, id := range ids {
		c.start(id, t.TempDir(), newListMachine())
	}
	for g := range uint32(groups) {
		must(t, c.nodes[ids[0]].host.Campaign(t.Context(), g))
		c.leader(g)
	}
	return c
}

// start runs a node on a directory; its machine outlives it as its drive would.
func (c *cluster) start(id uint64, dir string, machine *listMachine) *node {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(c.t, err)
	self := rpc.Identity{Node: fmt.Sprint("node", id), Roles: rpc.Meta, Incarnation: id}
	n := &node{id: id, dir: dir, machine: machine, served: make(chan error, 1)}
	n.client, err = rpc.NewClient(rpc.Config{Self: self, Secret: c.secret, Dial: c.dialer(id)})
	must(c.t, err)
	n.server, err = rpc.NewServer(rpc.Config{Self: self, Secret: c.secret})
	must(c.t, err)
	n.transport, err = New(Config{Client: n.client, Resolve: c.resolve})
	must(c.t, err)
	n.transport.Handle(n.server)
	go func() { n.served <- n.server.Serve(l) }()
	c.mu.Lock()
	c.addrs[id] = l.Addr().String()
	c.mu.Unlock()
	cfg := raftgroup.Config{
		ID: id, Dir: dir, Groups: c.groups, Machine: machine, Transport: n.transport, ElectionTicks: c.ticks,
		SegmentBytes: 64 << 10, LogBytes: 256 << 10,
	}
	if slices.Contains(c.first, id) {
		cfg.Bootstrap = c.first
	}
	n.host, err = raftgroup.Open(cfg)
	must(c.t, err)
	c.nodes[id] = n
	c.t.Cleanup(func() { n.host.Close(); n.client.Close(); n.server.Close() })
	return n
}

func (c *cluster) resolve(id uint64) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, ok := c.addrs[id]
	return addr, ok
}

// kill ends a node as a crash of its process would: its connections and its port are closed at once.
func (c *cluster) kill(id uint64) {
	n := c.nodes[id]
	delete(c.nodes, id)
	n.client.Close()
	n.server.Close()
	n.host.Close()
}

// cut loses what from sends to to; heal ends all cuts.
func (c *cluster) cut(from, to uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cuts[[2]uint64{from, to}] = true
}

func (c *cluster) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.cuts)
}

// dialer returns connections that lose what is written while the direction is cut, and break after that.
func (c *cluster) dialer(from uint64) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		raw, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return &cutConn{Conn: raw, cut: func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			for id, at := range c.addrs {
				if at == addr && c.cuts[[2]uint64{from, id}] {
					return true
				}
			}
			return false
		}}, nil
	}
}

type cutConn struct {
	net.Conn
	cut  func() bool
	lost atomic.Bool
}

func (c *cutConn) Write(p []byte) (int, error) {
	if c.cut() {
		c.lost.Store(true)
		return len(p), nil
	}
	if c.lost.Load() {
		c.Close()
	}
	return c.Conn.Write(p)
}

// leader waits for a host that leads group and can serve.
func (c *cluster) leader(group uint32) *node {
	c.t.Helper()
	var found *node
	c.eventually("a leader", func() error {
		for _, n := range c.nodes {
			ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
			err := n.host.ReadBarrier(ctx, group)
			cancel()
			if err == nil {
				found = n
				return nil
			}
		}
		return errors.New("none")
	})
	return found
}

func (c *cluster) put(group uint32, data string) {
	c.t.Helper()
	c.eventually("put", func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.leader(group).host.Propose(ctx, group, []byte(data))
		return err
	})
}

// same waits until all nodes have executed the same commands.
func (c *cluster) same() {
	c.t.Helper()
	c.eventually("equal states", func() error {
		var want []string
		first := true
		for id, n := range c.nodes {
			got := n.machine.commands(0)
			if first {
				want, first = got, false
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("replica %d has %d commands, not %d", id, len(got), len(want))
			}
		}
		return nil
	})
}

func (c *cluster) eventually(what string, f func() error) {
	c.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: %v", what, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listMachine keeps the commands in memory; all it did is durable.
type listMachine struct {
	mu     sync.Mutex
	groups map[uint32]listState
}

type listState struct {
	at       raftgroup.Position
	commands []string
}

func newListMachine() *listMachine { return &listMachine{groups: map[uint32]listState{}} }

func (m *listMachine) Applied(group uint32) (raftgroup.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.groups[group].at, nil
}

func (m *listMachine) Apply(entries []raftgroup.Entry) ([]any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	results := make([]any, len(entries))
	for _, e := range entries {
		s := m.groups[e.Group]
		s.at.Index, s.at.Term = e.Index, e.Term
		if e.Members != nil {
			s.at.Members = e.Members
		}
		if len(e.Data) > 0 {
			s.commands = append(s.commands, string(e.Data))
		}
		m.groups[e.Group] = s
	}
	return results, nil
}

func (m *listMachine) Sync() error { return nil }

func (m *listMachine) commands(group uint32) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.groups[group].commands)
}

func (m *listMachine) Snapshot(group uint32) (raftgroup.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.groups[group]
	s.commands = slices.Clone(s.commands)
	return listSnapshot{s}, nil
}

func (m *listMachine) Restore(group uint32, at raftgroup.Position, r io.Reader) error {
	p, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s := listState{at: at}
	if err := gob.NewDecoder(bytes.NewReader(p)).Decode(&s.commands); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.groups[group] = s
	return nil
}

type listSnapshot struct{ state listState }

func (s listSnapshot) Position() raftgroup.Position { return s.state.at }
func (s listSnapshot) Close() error                 { return nil }
func (s listSnapshot) WriteTo(w io.Writer) (int64, error) {
	return 0, gob.NewEncoder(w).Encode(s.state.commands)
}
