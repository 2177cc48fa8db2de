package raftgroup

import (
	"context"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// proposal is a command, or a change of members, on its way through the log.
type proposal struct {
	group *group
	typ   raftpb.EntryType
	data  []byte
	index uint64
	term  uint64
	done  chan outcome // holds one
}

type outcome struct {
	result any
	err    error
}

func (p *proposal) finish(result any, err error) { p.done <- outcome{result, err} }

// Propose commits data in group, executes it and returns what Machine.Apply returned for it. It fails with
// NotLeaderError, ErrBusy or ErrTooLarge if nothing was proposed. After ErrLost, ErrStopped or
// the end of ctx the command may or may not be executed. data must not be changed afterwards.
func (h *Host) Propose(ctx context.Context, group uint32, data []byte) (any, error) {
	if len(data) == 0 || len(data) > MaxCommandBytes {
		return nil, fmt.Errorf("%d bytes: %w", len(data), ErrTooLarge)
	}
	g, err := h.group(group)
	if err != nil {
		return nil, err
	}
	return g.propose(ctx, raftpb.EntryNormal, data)
}

func (g *group) propose(ctx context.Context, typ raftpb.EntryType, data []byte) (any, error) {
	h := g.host
	p := &proposal{group: g, typ: typ, data: data, done: make(chan outcome, 1)}
	err := h.inbox.put(func(w *work) error {
		w.proposals = append(w.proposals, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	select {
	case o := <-p.done:
		return o.result, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-h.stopping:
	}
	select {
	case o := <-p.done:
		return o.result, o.err
	default:
		return nil, ErrStopped
	}
}

// propose gives what was proposed since the last round to raft, one message per group.
func (h *Host) propose(proposals []*proposal) {
	for _, p := range proposals {
		p.group.batch = append(p.group.batch, p)
	}
	for _, p := range proposals {
		if g := p.group; len(g.batch) > 0 {
			g.proposeBatch()
			clear(g.batch)
			g.batch = g.batch[:0]
		}
	}
}

func (g *group) proposeBatch() {
	g.touch()
	status := g.node.BasicStatus()
	if status.GetTerm() == 0 || status.Lead != g.host.cfg.ID {
		g.lead = status.Lead
		for _, p := range g.batch {
			p.finish(nil, g.notLeader())
		}
		return
	}
	entries := make([]*raftpb.Entry, len(g.batch))
	for i, p := range g.batch {
		entries[i] = &raftpb.Entry{Type: p.typ.Enum(), Data: p.data}
		p.term = status.GetTerm()
	}
	given := append([]*raftpb.Entry(nil), entries...)
	m := &raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(g.host.cfg.ID), Entries: given}
	if err := g.node.Step(m); err != nil {
		for _, p := range g.batch {
			p.finish(nil, fmt.Errorf("%w: %w", ErrBusy, err))
		}
		return
	}
	for i, p := range g.batch {
		if given[i] != entries[i] { // raft put an empty entry in the place of a change of members
			p.finish(nil, ErrMembersPending)
			continue
		}
		g.unplaced = append(g.unplaced, p)
	}
}

// commits gives the committed entries of a Ready to the committer, with the proposals that wait for them.
func (g *group) commits() {
	for _, e := range g.ready.CommittedEntries {
		c := committed{group: g, entry: e, proposal: g.takeWaiting(e)}
		if e.GetType() != raftpb.EntryNormal {
			c.members = g.changeMembers(e)
		}
		if g.announce {
			c.members, g.announce = g.members(), false
		}
		g.handed, g.commit = e.GetIndex(), e.GetIndex()
		g.host.loop.items = append(g.host.loop.items, c)
	}
	g.commit = max(g.commit, g.log.hard.GetCommit())
}

// takeWaiting returns the proposal that became e, if it is one of this host.
func (g *group) takeWaiting(e *raftpb.Entry) *proposal {
	for len(g.waiting) > 0 && g.waiting[0].index <= e.GetIndex() {
		p := g.waiting[0]
		g.waiting[0] = nil
		g.waiting = g.waiting[1:]
		if p.index == e.GetIndex() && p.term == e.GetTerm() {
			return p
		}
		p.finish(nil, ErrLost)
	}
	return nil
}
