package raftgroup

import (
	"fmt"
	"log/slog"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
)

// firstIndex and firstTerm are where the log of a new cluster begins: as if an entry before it had named the
// voters. A replica that joins begins at 0 and so is always sent a snapshot.
const (
	firstIndex = 1
	firstTerm  = 1
)

// recover brings log and state of every group together.
func (h *Host) recover(doubtful bool) error {
	if h.log.empty() {
		if doubtful && len(h.cfg.Bootstrap) != 1 && !h.cfg.CutDoubtfulTail {
			return fmt.Errorf("raft log: %w", ErrDoubtfulTail)
		}
		return h.birth()
	}
	peers := false
	h.log.begin()
	for _, g := range h.groups {
		if err := h.resumeRestore(g); err != nil {
			return err
		}
		if err := g.recover(); err != nil {
			return err
		}
		peers = peers || !g.alone()
	}
	if doubtful && peers && !h.cfg.CutDoubtfulTail {
		return fmt.Errorf("raft log: %w", ErrDoubtfulTail)
	}
	if doubtful {
		h.cfg.Logger.Warn("torn end of the raft log was cut", slog.Uint64("after", h.log.sequence))
	}
	if h.log.batch.records == 0 {
		return nil
	}
	return h.log.commit(0)
}

// birth writes the first batch of a new log.
func (h *Host) birth() error {
	h.log.begin()
	for _, g := range h.groups {
		at, err := h.cfg.Machine.Applied(g.id)
		if err != nil {
			return fmt.Errorf("state of group %d: %w", g.id, err)
		}
		if at.Index > 0 {
			return fmt.Errorf("group %d is at %d but its log is empty: %w", g.id, at.Index, ErrDamaged)
		}
		if len(h.cfg.Bootstrap) > 0 {
			voters := slices.Sorted(slices.Values(h.cfg.Bootstrap))
			g.log.startAt(firstIndex, firstTerm)
			g.log.members = &members{index: firstIndex, state: raftpb.EnsureConfState(&raftpb.ConfState{Voters: voters})}
			g.log.hard = &raftpb.HardState{Term: new(uint64(firstTerm)), Vote: new(uint64(0)), Commit: new(uint64(firstIndex))}
			g.log.state, g.announce = g.log.members.state, true
		} else {
			g.log.startAt(0, 0)
		}
		g.setStart(Position{Index: g.log.start, Term: g.log.startTerm, Members: g.log.state}, at)
		if err := h.log.addState(g.log); err != nil {
			return err
		}
	}
	return h.log.commit(0)
}

// recover finds from where the group goes on.
func (g *group) recover() error {
	at, err := g.host.cfg.Machine.Applied(g.id)
	if err != nil {
		return fmt.Errorf("state of group %d: %w", g.id, err)
	}
	l := g.log
	if at.Index < l.start && !(at.Index == 0 && l.start <= firstIndex) {
		return fmt.Errorf("group %d: the state is at %d, the log begins behind %d: %w", g.id, at.Index, l.start, ErrDamaged)
	}
	reset := false
	if at.Index > l.start {
		// A crash between the restore of a snapshot and the record of it in the log leaves the state ahead.
		if t, err := l.Term(at.Index); err != nil || t != at.Term {
			l.startAt(at.Index, at.Term)
			g.host.log.addStart(l, at.Index, at.Term)
			reset = true
		}
	}
	l.state = at.Members
	if l.members != nil && l.members.index >= at.Index {
		l.state, g.announce = l.members.state, true
	}
	if l.members != nil {
		g.voidTerm = l.members.term
	}
	from := Position{Index: max(at.Index, l.start), Members: l.state}
	from.Term, _ = l.Term(from.Index)
	g.setStart(from, at)
	return g.recoverHard(reset, from)
}

// recoverHard raises the commit index to what is applied: it is not always synced with the log.
func (g *group) recoverHard(reset bool, from Position) error {
	l := g.log
	hard := l.hard
	if hard == nil {
		hard = &raftpb.HardState{Term: new(from.Term), Vote: new(uint64(0)), Commit: new(uint64(0))}
	}
	if from.Index == 0 && hard.GetTerm() == 0 {
		return nil
	}
	commit := max(hard.GetCommit(), from.Index)
	if commit > l.last() {
		if !reset {
			return fmt.Errorf("group %d: committed up to %d, the log ends at %d: %w", g.id, commit, l.last(), ErrDamaged)
		}
		commit = l.last()
	}
	l.hard = &raftpb.HardState{Term: new(max(hard.GetTerm(), from.Term)), Vote: new(hard.GetVote()), Commit: &commit}
	if hard.GetTerm() < from.Term {
		l.hard.Vote = new(uint64(0))
	}
	return nil
}

// alone tells whether this host is the only voter.
func (g *group) alone() bool {
	s := g.log.state
	return s != nil && len(s.Voters) == 1 && s.Voters[0] == g.host.cfg.ID && len(s.VotersOutgoing) == 0
}
