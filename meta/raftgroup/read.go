package raftgroup

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"go.etcd.io/raft/v3"
)

// ReadBarrier returns when the local state holds every write that was acknowledged before the call, by any
// host. Only the leader can tell: others get NotLeaderError.
//
// A write is acknowledged by the leader that proposed it, after executing it. So the state of a leader that has
// executed the first entry of its own term holds all writes acknowledged by earlier leaders, and all of
// its own. What remains is to make sure, after the call began, that no later leader exists.
func (h *Host) ReadBarrier(ctx context.Context, group uint32) error {
	g, err := h.group(group)
	if err != nil {
		return err
	}
	if h.stopped.Load() {
		return ErrStopped
	}
	t := g.tenure.Load()
	if t == nil || !g.unchallenged(t) && !g.confirmedByTerms(ctx, t) {
		if t, err = g.confirm(ctx); err != nil {
			return err
		}
	}
	if g.applied.Load() >= t.first {
		return nil
	}
	return g.waitApplied(ctx, t.first)
}

// unchallenged tells whether a quorum of the voters has, since the call began, not yet voted in a term after t's.
// A later leader needs the votes of a quorum, and each of its voters raises its published term before its vote leaves it:
// if none of this quorum has, there is no later leader yet. A joint configuration needs a quorum of both.
func (g *group) unchallenged(t *tenure) bool {
	return g.quorumWithin(t.voters, t.term) && (len(t.outgoing) == 0 || g.quorumWithin(t.outgoing, t.term))
}

func (g *group) quorumWithin(voters []uint64, term uint64) bool {
	self, n := g.host.cfg.ID, 0
	for _, v := range voters {
		var at uint64
		ok := true
		if v == self {
			at = g.term.Load()
		} else if g.host.terms != nil {
			at, ok = g.host.terms.TermOf(self, v, g.id)
		} else {
			ok = false
		}
		if ok && at <= term {
			n++
		}
		if 2*n > len(voters) {
			return true
		}
	}
	return false
}

// confirmedByTerms tells whether peers in other processes say what unchallenged finds out in one process. It
// does not know while members change, or where too few answer: raft's own messages then decide.
func (g *group) confirmedByTerms(ctx context.Context, t *tenure) bool {
	return g.host.asking != nil && len(t.outgoing) == 0 && g.host.asking.confirmTerm(ctx, g, t) == termStands
}

// read waits for a round of heartbeats that confirms the leadership.
type read struct {
	group *group
	done  chan error // holds one
}

// readQueue are the reads of a group. One round is in flight, and all that came in meanwhile share the next.
type readQueue struct {
	next   []*read
	flight []*read
	round  uint64
}

// confirm makes sure by messages that this host still leads.
func (g *group) confirm(ctx context.Context) (*tenure, error) {
	r := &read{group: g, done: make(chan error, 1)}
	err := g.host.inbox.put(func(w *work) error {
		w.reads = append(w.reads, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	select {
	case err = <-r.done:
	case <-ctx.Done():
		err = ctx.Err()
	case <-g.host.stopping:
		err = ErrStopped
	}
	if err != nil {
		return nil, err
	}
	t := g.tenure.Load()
	if t == nil {
		return nil, &NotLeaderError{Term: g.term.Load()}
	}
	return t, nil
}

// startReads queues reads in the loop.
func (h *Host) startReads(reads []*read) {
	for _, r := range reads {
		r.group.reads.next = append(r.group.reads.next, r)
	}
	for _, r := range reads {
		r.group.issueRead()
	}
}

// issueRead begins a round for the reads that wait, if none is in flight.
func (g *group) issueRead() {
	q := &g.reads
	if len(q.next) == 0 || len(q.flight) > 0 {
		return
	}
	g.touch()
	status := g.node.BasicStatus()
	if status.RaftState != raft.StateLeader {
		g.lead = status.Lead
		g.failReads()
		return
	}
	q.flight, q.next = q.next, q.flight[:0]
	q.round++
	g.node.ReadIndex(binary.LittleEndian.AppendUint64(nil, q.round))
}

// serveReads ends the round that the states confirm.
func (g *group) serveReads(states []raft.ReadState) {
	q := &g.reads
	for _, s := range states {
		if len(s.RequestCtx) != 8 || binary.LittleEndian.Uint64(s.RequestCtx) != q.round || len(q.flight) == 0 {
			continue
		}
		for _, r := range q.flight {
			r.done <- nil
		}
		clear(q.flight)
		q.flight = q.flight[:0]
		g.issueRead()
	}
}

// failReads answers all reads: this host does not lead.
func (g *group) failReads() {
	q := &g.reads
	for _, r := range append(q.flight, q.next...) {
		r.done <- g.notLeader()
	}
	*q = readQueue{round: q.round}
}

// applyWaiters are those who wait for an index to be executed.
type applyWaiters struct {
	count atomic.Int64
	mu    sync.Mutex // guards list
	list  []applyWaiter
}

type applyWaiter struct {
	index uint64
	done  chan struct{}
}

func (w *applyWaiters) any() bool { return w.count.Load() > 0 }

// reached wakes those who wait for up to index.
func (w *applyWaiters) reached(index uint64) {
	if !w.any() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.list[:0]
	for _, e := range w.list {
		if e.index <= index {
			close(e.done)
			w.count.Add(-1)
		} else {
			kept = append(kept, e)
		}
	}
	clear(w.list[len(kept):])
	w.list = kept
}

// add registers for index.
func (w *applyWaiters) add(index uint64) chan struct{} {
	done := make(chan struct{})
	w.mu.Lock()
	w.list = append(w.list, applyWaiter{index, done})
	w.count.Add(1)
	w.mu.Unlock()
	return done
}

// waitApplied waits until the state has reached index.
func (g *group) waitApplied(ctx context.Context, index uint64) error {
	done := g.waiters.add(index)
	if g.applied.Load() >= index {
		return nil // the registration ends with the next entry
	}
	g.host.committer.hurry()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-g.host.stopping:
		return ErrStopped
	}
}
