package raftgroup

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

var seeds = flag.Uint64("seeds", 4, "random histories to try")

// history is what clients saw of one group: the positions at which their commands were executed.
type history struct {
	mu    sync.Mutex
	acked map[string]int // command -> position, from 1
	high  int
}

func (h *history) ack(command string, position int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked[command] = position
	h.high = max(h.high, position)
}

func (h *history) highest() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.high
}

// storm is a cluster whose hosts crash and whose links break while clients write and read.
type storm struct {
	*cluster
	mu   sync.Mutex // guards hosts
	rand *rand.Rand // of the disturbances
	past []*history
}

// TestRandom checks, for many seeds, that every acknowledged command is executed once and at the position that
// was acknowledged, on every replica, and that a read never misses one acknowledged before it began.
func TestRandom(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runStorm(t, seed) })
		})
	}
}

func runStorm(t *testing.T, seed uint64) {
	ids := []uint64{1, 2, 3, 4, 5}[:3+2*(seed%2)]
	s := startStorm(t, seed, ids)
	stop := s.clients(seed)
	for range 25 {
		time.Sleep(time.Duration(s.rand.IntN(400)) * time.Millisecond)
		s.disturb(ids)
	}
	s.heal(ids)
	stop()
	s.put(0, "last")
	s.put(1, "last")
	s.same(ids...)
	s.check(t, ids[0])
}

func startStorm(t *testing.T, seed uint64, ids []uint64) *storm {
	s := &storm{cluster: newCluster(t, 2, ids...), rand: rand.New(rand.NewPCG(seed, 1))}
	s.tune = func(cfg *Config) {
		cfg.disk = realDisk()
		cfg.disk.sync = func(*os.File) error { return nil } // the process does not crash
	}
	for _, id := range ids {
		s.open(id)
	}
	s.lead(1)
	s.past = []*history{{acked: map[string]int{}}, {acked: map[string]int{}}}
	return s
}

// clients starts those who write and read; the returned function ends them.
func (s *storm) clients(seed uint64) (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var clients sync.WaitGroup
	for g := range uint32(2) {
		for n := range 3 {
			r := rand.New(rand.NewPCG(seed, uint64(10*g)+uint64(n)+2))
			readSeed := r.Uint64()
			clients.Go(func() { s.write(ctx, r, g, fmt.Sprintf("client %d.%d", g, n)) })
			clients.Go(func() { s.read(ctx, readSeed, g) })
		}
	}
	return func() { cancel(); clients.Wait() }
}

// any returns one of the hosts that are up.
func (s *storm) any(r *rand.Rand) *Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := slices.Sorted(maps.Keys(s.hosts))
	return s.hosts[ids[r.IntN(len(ids))]]
}

// write proposes commands to hosts at random, each once.
func (s *storm) write(ctx context.Context, r *rand.Rand, group uint32, name string) {
	for i := 0; ctx.Err() == nil; i++ {
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
		h := s.any(r)
		command := fmt.Sprint(name, ".", i, strings.Repeat("x", r.IntN(3000)))
		limit, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		if got, err := h.Propose(limit, group, []byte(command)); err == nil {
			s.past[group].ack(command, got.(int))
		}
		cancel()
	}
}

// read checks that the state behind a barrier holds all that was acknowledged before.
func (s *storm) read(ctx context.Context, seed uint64, group uint32) {
	r := rand.New(rand.NewPCG(seed, 0))
	for ctx.Err() == nil {
		time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
		h := s.any(r)
		limit, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		want := s.past[group].highest()
		if err := h.ReadBarrier(limit, group); err == nil {
			m := h.cfg.Machine.(*listMachine)
			m.mu.Lock()
			got := m.groups[group].Count
			m.mu.Unlock()
			if got < want && h.Err() == nil {
				s.t.Errorf("replica %d group %d: read %d commands, %d were acknowledged", h.ID(), group, got, want)
			}
		}
		cancel()
	}
}

// disturb does one thing to the cluster, never leaving more than a minority down for long.
func (s *storm) disturb(ids []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, b := ids[s.rand.IntN(len(ids))], ids[s.rand.IntN(len(ids))]
	switch s.rand.IntN(9) {
	case 0, 1, 2:
		if s.hosts[a] == nil {
			s.open(a)
		} else if len(s.hosts) > len(ids)/2 {
			s.kill(a)
		}
	case 3:
		s.net.Cut(a, b)
	case 4:
		s.net.Cut(a, b)
		s.net.Cut(b, a)
	case 5:
		s.net.Heal()
	case 6:
		if h := s.hosts[a]; h != nil {
			h.Transfer(shortly(s.t), uint32(a%2), b)
		}
	case 7:
		n := s.rand.Uint64()
		s.net.Drop(func(d Delivery) bool { return (d.Message.GetIndex()^n)%5 == 0 })
	case 8:
		s.net.Drop(nil)
	}
}

func (s *storm) heal(ids []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.net.Heal()
	s.net.Drop(nil)
	for _, id := range ids {
		if s.hosts[id] == nil {
			s.open(id)
		}
	}
}

func (s *storm) check(t *testing.T, id uint64) {
	total := 0
	for g, past := range s.past {
		final := s.machines[id].commands(uint32(g))
		if sorted := slices.Sorted(slices.Values(final)); len(slices.Compact(sorted)) != len(final) {
			t.Errorf("group %d: a command was executed twice", g)
		}
		for command, at := range past.acked {
			if at > len(final) || final[at-1] != command {
				t.Errorf("group %d: %.20q acknowledged at %d is not there", g, command, at)
			}
		}
		total += len(past.acked)
	}
	if total < 10 {
		t.Errorf("only %d commands were acknowledged", total)
	}
}

// TestRandomReplace loses one voter after the other for good, and puts a new one in its place each time, until none of the first
// is left, while messages get lost and clients write and read.
func TestRandomReplace(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ids := []uint64{1, 2, 3}
				s := startStorm(t, seed, ids)
				stop := s.clients(seed)
				for fresh := uint64(4); fresh < 9; fresh++ {
					time.Sleep(time.Duration(s.rand.IntN(1000)) * time.Millisecond)
					at := s.rand.IntN(len(ids))
					s.replace(ids[at], fresh)
					ids[at] = fresh
				}
				stop()
				s.put(0, "last")
				s.put(1, "last")
				s.same(ids...)
				s.check(t, ids[0])
			})
		})
	}
}

// replace ends dead for good and makes fresh a voter instead, through a network that loses a tenth of the messages.
func (s *storm) replace(dead, fresh uint64) {
	s.mu.Lock()
	s.kill(dead)
	s.open(fresh)
	s.mu.Unlock()
	var n atomic.Uint64
	s.net.Drop(func(Delivery) bool { return n.Add(0x9e3779b97f4a7c15)%10 == 0 })
	defer s.net.Drop(nil)
	swap := change(raftpb.ConfChangeAddNode, fresh)
	swap.Changes = append(swap.Changes, change(raftpb.ConfChangeRemoveNode, dead).Changes...)
	for g := range uint32(2) {
		for _, c := range []*raftpb.ConfChangeV2{change(raftpb.ConfChangeAddLearnerNode, fresh), swap} {
			s.eventually("change of members", func() error {
				ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
				defer cancel()
				if err := s.leader(g).ChangeMembers(ctx, g, c); err != nil {
					return err
				}
				st, err := s.leader(g).Status(ctx, g)
				if err == nil && !st.Peers[fresh].CaughtUp {
					err = fmt.Errorf("replica %d lags: %+v", fresh, st.Peers[fresh])
				}
				return err
			})
		}
	}
}
