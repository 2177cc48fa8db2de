package raftgroup

import (
	"errors"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// post queues a message for its peer. What tells a follower only of a commit is held back: mostly the next
// entries take it along, and five hosts in one process need not wake up once more for each commit.
func (h *Host) post(e Envelope) {
	g, m := h.groups[e.Group], e.Message
	to := m.GetTo()
	switch m.GetType() {
	case raftpb.MsgApp:
		if len(m.GetEntries()) == 0 && g.leading && g.tenure.Load() != nil {
			g.held[to] = m
			if !h.loop.held {
				h.loop.held = true
				h.loop.hold.Reset(holdDelay)
			}
			return
		}
		delete(g.held, to)
	case raftpb.MsgSnap:
		g.sent[to] = 0
	}
	h.queue(to, e)
}

// queue puts e into the batch for to.
func (h *Host) queue(to uint64, e Envelope) {
	s := &h.loop
	for i := range s.out {
		if s.out[i].to == to {
			s.out[i].batch = append(s.out[i].batch, e)
			return
		}
	}
	s.out = append(s.out, peerBatch{to: to, batch: []Envelope{e}})
}

// releaseHeld sends the commits that were held back.
func (h *Host) releaseHeld() {
	for _, g := range h.groups {
		for to, m := range g.held {
			h.queue(to, Envelope{g.id, m})
		}
		clear(g.held)
	}
	h.flush()
}

// flush hands the batches to the transport. The loop is told of peers that are not there.
func (h *Host) flush() {
	s := &h.loop
	for i := range s.out {
		p := &s.out[i]
		if len(p.batch) == 0 {
			continue
		}
		if err := h.cfg.Transport.Send(h.cfg.ID, p.to, p.batch); errors.Is(err, ErrUnreachable) {
			h.unreachable(p.to, p.batch)
		}
		clear(p.batch)
		p.batch = p.batch[:0]
	}
}

// unreachable tells raft that a batch is lost.
func (h *Host) unreachable(to uint64, batch []Envelope) {
	for _, e := range batch {
		g := h.groups[e.Group]
		switch e.Message.GetType() {
		case raftpb.MsgApp:
			g.node.ReportUnreachable(to)
			g.touch()
		case raftpb.MsgSnap:
			delete(g.sent, to)
			g.node.ReportSnapshot(to, raft.SnapshotFailure)
			g.touch()
		}
	}
}

// everyGroup stands in an Envelope of this host for all of its groups.
const everyGroup = 1<<32 - 1

// PeerGone implements Receiver. It comes between the last messages of that peer and the first
// of those who campaign because of it, and has to be dealt with in this order.
func (h *Host) PeerGone(id uint64) {
	gone := &raftpb.Message{Type: raftpb.MsgForgetLeader.Enum(), From: &id}
	h.inbox.put(func(w *work) error {
		w.messages = append(w.messages, Envelope{everyGroup, gone})
		return nil
	})
}

// peerGone forgets a leader that is gone for sure, so that its lease holds up no election, and lets the voters
// try to follow it one after the other instead of waiting for a timeout.
func (g *group) peerGone(id uint64) {
	g.touch()
	status := g.node.BasicStatus()
	if status.RaftState == raft.StateLeader {
		g.node.ReportUnreachable(id)
		return
	}
	if status.Lead != id && status.Lead != 0 {
		return
	}
	g.node.ForgetLeader()
	rank := g.rank(id)
	switch {
	case rank < 0:
	case g.host.terms == nil:
		// Over a network the others hear of it a little earlier or later: before that they would refuse their votes.
		g.campaign = 1 + 2*rank
	case rank == 0:
		g.node.Campaign()
		g.campaign = campaignRetryTicks
	default:
		g.campaign = 2 * rank
	}
}

// campaignRetryTicks is after how long the first in line tries again to follow a leader that is gone.
const campaignRetryTicks = 5

// rank returns how many voters with smaller ids there are beside the one that is gone, or -1 if this host is
// no voter. Voters known to be gone too do not count.
func (g *group) rank(gone uint64) int {
	rank, self := 0, g.host.cfg.ID
	voters := g.members().Voters
	if !slices.Contains(voters, self) {
		return -1
	}
	for _, v := range voters {
		if v == gone || v >= self || g.host.loop.gone[v] {
			continue
		}
		if g.host.terms != nil {
			if _, there := g.host.terms.TermOf(self, v, g.id); !there {
				continue
			}
		}
		rank++
	}
	return rank
}
