package raftgroup

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Memory is the Transport between hosts of one process: messages are handed over by pointer.
type Memory struct {
	mu    sync.Mutex                          // orders changes of state
	state atomic.Pointer[memoryState]         // replaced, never changed
	drop  atomic.Pointer[func(Delivery) bool] // nil: nothing is dropped
}

type memoryState struct {
	hosts map[uint64]Receiver
	cuts  map[link]bool
}

type link struct{ from, to uint64 }

// Delivery is a message on its way, as a filter sees it.
type Delivery struct {
	From, To uint64
	Envelope
}

// NewMemory returns a transport without hosts.
func NewMemory() *Memory {
	m := &Memory{}
	m.state.Store(&memoryState{})
	return m
}

// update replaces the state by a changed copy.
func (m *Memory) update(change func(*memoryState)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.state.Load()
	next := &memoryState{hosts: maps.Clone(old.hosts), cuts: maps.Clone(old.cuts)}
	if next.hosts == nil {
		next.hosts = map[uint64]Receiver{}
	}
	if next.cuts == nil {
		next.cuts = map[link]bool{}
	}
	change(next)
	m.state.Store(next)
}

// Register implements Transport.
func (m *Memory) Register(id uint64, host Receiver) error {
	taken := false
	m.update(func(s *memoryState) {
		if _, taken = s.hosts[id]; !taken {
			s.hosts[id] = host
		}
	})
	if taken {
		return fmt.Errorf("replica %d is already there", id)
	}
	return nil
}

// Unregister implements Transport. The others hear of it at once, the lowest id last: it is the one that will
// campaign, and then all others have already forgotten the lost leader.
func (m *Memory) Unregister(id uint64) {
	m.update(func(s *memoryState) { delete(s.hosts, id) })
	hosts := m.state.Load().hosts
	for _, other := range slices.Backward(slices.Sorted(maps.Keys(hosts))) {
		hosts[other].PeerGone(id)
	}
}

// Send implements Transport.
func (m *Memory) Send(from, to uint64, batch []Envelope) error {
	s := m.state.Load()
	host, ok := s.hosts[to]
	if !ok || s.cuts[link{from, to}] {
		return ErrUnreachable
	}
	if drop := m.drop.Load(); drop != nil {
		batch = slices.DeleteFunc(slices.Clone(batch), func(e Envelope) bool {
			return (*drop)(Delivery{from, to, e})
		})
	}
	return host.Receive(batch)
}

// TermOf implements TermSource.
func (m *Memory) TermOf(from, peer uint64, group uint32) (uint64, bool) {
	s := m.state.Load()
	host, ok := s.hosts[peer]
	if !ok || len(s.cuts) > 0 && (s.cuts[link{from, peer}] || s.cuts[link{peer, from}]) {
		return 0, false
	}
	return host.Term(group), true
}

// OpenSnapshot implements Transport.
func (m *Memory) OpenSnapshot(ctx context.Context, from, to uint64, group uint32) (SnapshotReader, error) {
	s := m.state.Load()
	host, ok := s.hosts[to]
	if !ok || s.cuts[link{from, to}] {
		return nil, ErrUnreachable
	}
	pinned, err := host.PinSnapshot(group)
	if err != nil {
		return nil, err
	}
	return newPipe(ctx, pinned), nil
}

// pipe streams a pinned state from a goroutine of its own until it is closed.
type pipe struct {
	*io.PipeReader
	at   Position
	done sync.WaitGroup
	stop func() bool
}

func newPipe(ctx context.Context, pinned Snapshot) *pipe {
	r, w := io.Pipe()
	p := &pipe{PipeReader: r, at: pinned.Position()}
	p.stop = context.AfterFunc(ctx, func() { r.CloseWithError(context.Cause(ctx)) })
	p.done.Go(func() {
		err := guard(func() error { _, err := pinned.WriteTo(w); return err })
		if cerr := pinned.Close(); err == nil {
			err = cerr
		}
		w.CloseWithError(err)
	})
	return p
}

func (p *pipe) Position() Position { return p.at }

// Close ends the stream and waits for its goroutine.
func (p *pipe) Close() error {
	p.stop()
	err := p.PipeReader.Close()
	p.done.Wait()
	return err
}

// Cut drops what from sends to to, as a broken cable would. Both directions take two calls.
func (m *Memory) Cut(from, to uint64) {
	m.update(func(s *memoryState) { s.cuts[link{from, to}] = true })
}

// Heal undoes every Cut.
func (m *Memory) Heal() { m.update(func(s *memoryState) { clear(s.cuts) }) }

// Drop loses the messages that lose returns true for; nil ends it.
func (m *Memory) Drop(lose func(Delivery) bool) {
	if lose == nil {
		m.drop.Store(nil)
		return
	}
	m.drop.Store(&lose)
}

var (
	_ Transport  = (*Memory)(nil)
	_ TermSource = (*Memory)(nil)
)
