package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/internal/simnet"
)

var (
	seeds = flag.Uint64("sim.seeds", 6, "how many random histories to try")
	seed  = flag.Uint64("sim.seed", 0, "the first of them")
)

// TestRaftStorm checks for many seeds, while hosts and links fail, that every acknowledged command is executed once and
// where it was acknowledged, and that reads and writes take effect between their begin and their end.
func TestRaftStorm(t *testing.T) {
	for s := *seed; s < *seed+*seeds; s++ {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { raftStorm(t, s) })
		})
	}
}

// storm is a cluster that clients use while it suffers.
type storm struct {
	*replicas
	rand *rand.Rand
	past []*past
	log  []string // what was done to it
	from time.Time
}

// past is what clients know of one group. The commands have an order, so a history is linearizable if no
// operation finds itself behind one that had ended before it began.
type past struct {
	mu    sync.Mutex
	acked map[string]int // command -> position, from 1
	high  int            // the highest position that a client has seen
}

func (p *past) seen() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.high
}

func (p *past) see(position int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.high = max(p.high, position)
}

func raftStorm(t *testing.T, seed uint64) {
	ids := []uint64{1, 2, 3, 4, 5}[:3+2*(seed%2)]
	s := &storm{
		replicas: newReplicas(t, seed, 2, ids...), rand: rand.New(rand.NewPCG(seed, 1)), from: time.Now(),
		past: []*past{{acked: map[string]int{}}, {acked: map[string]int{}}},
	}
	defer s.report(seed)
	s.leader(0)
	s.leader(1)
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for g := range uint32(2) {
		for n := range uint64(3) {
			clients.Go(func() { s.write(ctx, rand.New(rand.NewPCG(seed, 10+10*uint64(g)+n)), g, fmt.Sprintf("%d.%d", g, n)) })
			clients.Go(func() { s.read(ctx, rand.New(rand.NewPCG(seed, 110+10*uint64(g)+n)), g) })
		}
	}
	for range 40 {
		time.Sleep(time.Duration(s.rand.IntN(600)) * time.Millisecond)
		s.disturb(ids)
	}
	s.heal(ids)
	time.Sleep(time.Second)
	cancel()
	clients.Wait()
	s.put(0, "last")
	s.put(1, "last")
	s.same()
	s.check()
}

// report tells after a failure what was done, and how to see it again.
func (s *storm) report(seed uint64) {
	if !s.t.Failed() {
		return
	}
	s.t.Logf("replay: go test ./internal/sim -run TestRaftStorm -sim.seed=%d -sim.seeds=1\n%s", seed, strings.Join(s.log, "\n"))
	for _, id := range s.ids() {
		for g := range uint32(s.groups) {
			st, err := s.up[id].Status(context.Background(), g)
			err = errors.Join(err, s.up[id].Err())
			s.t.Logf("%s group %d: %+v %v", name(id), g, st, err)
		}
	}
}

// any returns one of the replicas that are up, and whether it has crashed since.
func (s *storm) any(r *rand.Rand) *replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.ids()
	return s.up[ids[r.IntN(len(ids))]]
}

// isUp tells whether the process of p has not ended: what it says afterwards nobody hears.
func (s *storm) isUp(p *replica) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, up := range s.up {
		if up == p {
			return true
		}
	}
	return false
}

func (s *storm) write(ctx context.Context, r *rand.Rand, group uint32, client string) {
	for i := 0; ctx.Err() == nil; i++ {
		time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
		p := s.any(r)
		command := fmt.Sprint(client, ".", i, strings.Repeat("x", r.IntN(3000)))
		before := s.past[group].seen()
		limit, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		got, err := p.Propose(limit, group, []byte(command))
		cancel()
		if err != nil || !s.isUp(p) {
			continue
		}
		at := got.(int)
		if at <= before {
			s.t.Errorf("%s group %d: executed at %d, though %d had been seen before", p.proc.Name(), group, at, before)
		}
		s.past[group].see(at)
		s.past[group].mu.Lock()
		s.past[group].acked[command] = at
		s.past[group].mu.Unlock()
	}
}

func (s *storm) read(ctx context.Context, r *rand.Rand, group uint32) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(r.IntN(15)) * time.Millisecond)
		p := s.any(r)
		before := s.past[group].seen()
		limit, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		err := p.ReadBarrier(limit, group)
		cancel()
		if err != nil {
			continue
		}
		got := p.ledger.read(group)
		if !s.isUp(p) || p.Err() != nil {
			continue
		}
		if got < before {
			s.t.Errorf("%s group %d: read %d commands, though %d had been seen before", p.proc.Name(), group, got, before)
		}
		s.past[group].see(got)
	}
}

// disturb does one thing to the cluster. A majority is always up.
func (s *storm) disturb(ids []uint64) {
	a, b := ids[s.rand.IntN(len(ids))], ids[s.rand.IntN(len(ids))]
	switch s.rand.IntN(12) {
	case 0, 1, 2:
		s.killOrStart(a, ids)
	case 3:
		s.note("cut %d -> %d", a, b)
		s.net.Cut(name(a), name(b))
	case 4:
		s.note("cut %d <-> %d", a, b)
		s.net.Cut(name(a), name(b))
		s.net.Cut(name(b), name(a))
	case 5, 6:
		s.note("heal")
		s.net.Heal()
	case 7:
		s.note("freeze %d", a)
		s.net.Freeze(name(a))
	case 8:
		s.note("thaw")
		for _, id := range ids {
			s.net.Thaw(name(id))
		}
	case 9:
		s.note("reset %d, %d", a, b)
		s.net.Reset(name(a), name(b))
	case 10:
		l := simnet.Link{
			Latency: time.Duration(s.rand.IntN(50)) * time.Millisecond, Jitter: 20 * time.Millisecond,
			Loss: s.rand.Float64() / 4, BytesPerSecond: 1 << (15 + s.rand.IntN(10)),
		}
		s.note("link %d -> %d is %+v", a, b, l)
		s.net.SetLink(name(a), name(b), l)
	case 11:
		if p := s.up[a]; p != nil {
			s.note("%d is to lead group %d", b, a%2)
			ctx, cancel := context.WithTimeout(s.t.Context(), 100*time.Millisecond)
			p.Transfer(ctx, uint32(a%2), b)
			cancel()
		}
	}
}

func (s *storm) killOrStart(id uint64, ids []uint64) {
	if s.up[id] == nil {
		s.note("start %d", id)
		s.start(id)
	} else if len(s.up)-1 > len(ids)/2 {
		power := s.rand.IntN(2) == 0
		s.note("crash %d, power %v", id, power)
		s.crash(id, power)
	}
}

func (s *storm) heal(ids []uint64) {
	s.note("heal everything")
	s.net.Heal()
	s.net.SetLinks(simnet.Link{Latency: 100 * time.Microsecond})
	for _, id := range ids {
		s.net.Thaw(name(id))
		if s.up[id] == nil {
			s.killOrStart(id, ids)
		}
	}
}

func (s *storm) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf("%8v ", time.Since(s.from).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// check compares what was acknowledged with what is there.
func (s *storm) check() {
	for g, past := range s.past {
		final := slices.DeleteFunc(s.up[1].ledger.commands(uint32(g)), func(c string) bool { return c == "last" }) // put tries again
		if sorted := slices.Sorted(slices.Values(final)); len(slices.Compact(sorted)) != len(final) {
			s.t.Errorf("group %d: a command was executed twice", g)
		}
		for command, at := range past.acked {
			if at > len(final) || final[at-1] != command {
				s.t.Errorf("group %d: %.20q acknowledged at %d is not there", g, command, at)
			}
		}
		if len(past.acked) < 20 {
			s.t.Errorf("group %d: only %d commands were acknowledged", g, len(past.acked))
		}
	}
}
