package raftgroup

import (
	"errors"

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

// PeerGone implements Receiver.
func (h *Host) PeerGone(id uint64) {
	h.inbox.put(func(w *work) error {
		w.calls = append(w.calls, func() {
			for _, g := range h.groups {
				g.peerGone(id)
			}
		})
		return nil
	})
}

// peerGone forgets a leader that is gone for sure, so that its lease holds up no election, and lets the voters
// try to follow it one after the other instead of waiting for a timeout.
func (g *group) peerGone(id uint64) {
	g.touch()
	if g.leading {
		g.node.ReportUnreachable(id)
		return
	}
	if g.lead != id && g.lead != 0 {
		return
	}
	g.node.ForgetLeader()
	rank := 0
	voter := false
	for _, v := range g.members().Voters {
		voter = voter || v == g.host.cfg.ID
		if v != id && v < g.host.cfg.ID {
			rank++
		}
	}
	switch {
	case !voter:
	case rank == 0:
		g.node.Campaign()
		g.campaign = 5
	default:
		g.campaign = 2 * rank
	}
}
