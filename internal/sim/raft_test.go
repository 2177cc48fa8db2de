package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
	"kintsugi/internal/simnet"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/raftnet"
)

// replicas is a cluster of raft hosts, each a process of its own on a simulated network.
type replicas struct {
	t      *testing.T
	dir    string
	groups int
	first  []uint64
	secret *secret.Secret
	net    *simnet.Network
	mu     sync.Mutex // guards up, for clients
	up     map[uint64]*replica
	lives  map[uint64]int // how often it was started
	states map[uint64]map[uint32]page
}

// replica is one process: a raft host behind an rpc server.
type replica struct {
	*raftgroup.Host
	proc      *simnet.Host
	dir       string
	ledger    *ledger
	client    *rpc.Client
	server    *rpc.Server
	transport *raftnet.Transport
	serving   chan error
}

func name(id uint64) string { return fmt.Sprintf("m%d", id) }
func addr(id uint64) string { return name(id) + ":1" }

// newReplicas starts hosts in virtual time. Nobody leads yet.
func newReplicas(t *testing.T, seed uint64, groups int, ids ...uint64) *replicas {
	t.Helper()
	dir := scratch(t)
	s, err := secret.Create(filepath.Join(dir, "secret"))
	must(t, err)
	r := &replicas{
		t: t, dir: dir, groups: groups, first: ids, secret: s, net: simnet.New(seed), up: map[uint64]*replica{},
		lives: map[uint64]int{}, states: map[uint64]map[uint32]page{},
	}
	r.net.SetLinks(simnet.Link{Latency: 100 * time.Microsecond, Jitter: 200 * time.Microsecond})
	phase := rand.New(rand.NewPCG(seed, 0))
	for _, id := range ids { // processes do not tick together
		r.start(id)
		time.Sleep(time.Duration(phase.IntN(100_000)) * time.Microsecond)
	}
	t.Cleanup(func() {
		for id := range r.up {
			r.stop(id)
		}
	})
	return r
}

// scratch returns a directory in memory, where there is one.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "kintsugi-sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs the process of a host on what its last life left.
func (r *replicas) start(id uint64) {
	r.t.Helper()
	proc := r.net.Host(name(id))
	p := &replica{proc: proc, dir: r.dirOf(id), ledger: newLedger(r.states[id]), serving: make(chan error, 1)}
	cfg := rpc.Config{
		Self: rpc.Identity{Node: name(id), Roles: rpc.Meta, Incarnation: uint64(r.lives[id])*1000 + id}, Secret: r.secret,
		Dial: proc.Dial, Plain: func(net.Addr) bool { return true },
	}
	var err error
	p.client, err = rpc.NewClient(cfg)
	must(r.t, err)
	p.server, err = rpc.NewServer(cfg)
	must(r.t, err)
	p.transport, err = raftnet.New(raftnet.Config{Client: p.client, Resolve: func(id uint64) (string, bool) { return addr(id), true }})
	must(r.t, err)
	p.transport.Handle(p.server)
	l, err := proc.Listen(addr(id))
	must(r.t, err)
	go func() { p.serving <- p.server.Serve(l) }()
	host := raftgroup.Config{
		ID: id, Dir: p.dir, Groups: r.groups, Machine: p.ledger, Transport: p.transport, ElectionTicks: 7,
		SegmentBytes: 64 << 10, LogBytes: 512 << 10,
	}
	if slices.Contains(r.first, id) {
		host.Bootstrap = r.first
	}
	p.Host, err = raftgroup.Open(host)
	must(r.t, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up[id] = p
}

// take returns the process of a host, which is none of the cluster's any more.
func (r *replicas) take(id uint64) *replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.up[id]
	delete(r.up, id)
	return p
}

func (r *replicas) dirOf(id uint64) string {
	return filepath.Join(r.dir, fmt.Sprintf("%s.%d", name(id), r.lives[id]))
}

// stop ends a process well.
func (r *replicas) stop(id uint64) {
	r.end(r.take(id))
}

func (r *replicas) end(p *replica) {
	if err := p.Close(); err != nil {
		r.t.Errorf("%s: %v", p.proc.Name(), err)
	}
	p.server.Close()
	p.client.Close()
	<-p.serving
}

// crash ends a process as SIGKILL or a loss of power does. What it leaves is copied while nothing moves: its log as it is, of its
// state what was synced. What the process does afterwards nobody sees.
func (r *replicas) crash(id uint64, power bool) {
	r.t.Helper()
	p := r.take(id)
	synctest.Wait()
	r.states[id] = p.ledger.durable()
	r.lives[id]++
	must(r.t, os.CopyFS(r.dirOf(id), os.DirFS(p.dir)))
	if power {
		r.net.Vanish(name(id))
	} else {
		r.net.Kill(name(id))
	}
	r.end(p)
	must(r.t, os.RemoveAll(p.dir))
}

// put proposes a command to whoever leads until it is executed, and returns how long that took.
func (r *replicas) put(group uint32, command string) time.Duration {
	r.t.Helper()
	begun := time.Now()
	r.eventually("put", 20*time.Second, func() error {
		err := errors.New("nobody is there")
		for _, id := range r.ids() {
			ctx, cancel := context.WithTimeout(r.t.Context(), 500*time.Millisecond)
			_, err = r.up[id].Propose(ctx, group, []byte(command))
			cancel()
			if err == nil {
				return nil
			}
		}
		return err
	})
	return time.Since(begun)
}

func (r *replicas) ids() []uint64 {
	var ids []uint64
	for id := range r.up {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// leader waits until a host leads group and returns its id.
func (r *replicas) leader(group uint32) (leader uint64) {
	r.t.Helper()
	r.eventually("leader", 20*time.Second, func() error {
		for _, id := range r.ids() {
			ctx, cancel := context.WithTimeout(r.t.Context(), 200*time.Millisecond)
			err := r.up[id].ReadBarrier(ctx, group)
			cancel()
			if err == nil {
				leader = id
				return nil
			}
		}
		return errors.New("none")
	})
	return leader
}

func (r *replicas) eventually(what string, limit time.Duration, f func() error) {
	r.t.Helper()
	begun := time.Now()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Since(begun) > limit {
			r.t.Fatalf("%s: %v after %v", what, err, limit)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// same waits until all that are up have executed the same commands.
func (r *replicas) same() {
	r.t.Helper()
	r.eventually("equal states", time.Minute, func() error {
		for g := range uint32(r.groups) {
			ids := r.ids()
			want := r.up[ids[0]].ledger.commands(g)
			for _, id := range ids[1:] {
				if got := r.up[id].ledger.commands(g); !slices.Equal(got, want) {
					return fmt.Errorf("group %d: %s has %d commands, %s has %d", g, name(ids[0]), len(want), name(id), len(got))
				}
			}
		}
		return nil
	})
}

func (r *replicas) term(id uint64, group uint32) uint64 {
	r.t.Helper()
	st, err := r.up[id].Status(r.t.Context(), group)
	must(r.t, err)
	return st.Term
}
