package raftgroup

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// ChangeMembers changes voters and learners of group and returns when the change is complete: after a change of more
// than one voter, when the joint configuration has been left. Only the leader can.
func (h *Host) ChangeMembers(ctx context.Context, group uint32, change *raftpb.ConfChangeV2) error {
	g, err := h.group(group)
	if err != nil {
		return err
	}
	data, err := proto.Marshal(change)
	if err != nil {
		return fmt.Errorf("encode change of members: %w", err)
	}
	if len(data) == 0 {
		return nil
	}
	if _, err := g.propose(ctx, raftpb.EntryConfChangeV2, data); err != nil {
		return err
	}
	for {
		joint, changed := g.jointNow()
		if !joint {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-h.stopping:
			return ErrStopped
		}
	}
}

// jointNow tells whether the state has a joint configuration, and gives a channel that is closed at the next change.
func (g *group) jointNow() (bool, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.joint, g.changed
}

// changeMembers applies a committed change to raft and returns the new configuration, or nil if the entry is void.
func (g *group) changeMembers(e *raftpb.Entry) *raftpb.ConfState {
	change, err := decodeChange(e)
	if err != nil {
		panic(err) // it was committed, so every replica reads the same
	}
	joint := len(g.members().VotersOutgoing) > 0
	if e.GetTerm() <= g.voidTerm || change.LeaveJoint() && !joint {
		return nil
	}
	g.log.state = g.node.ApplyConfChange(change)
	g.membersChanged()
	if g.tenure.Load() != nil {
		g.publishTenure()
	}
	return g.log.state
}

// decodeChange reads an entry that changes members.
func decodeChange(e *raftpb.Entry) (*raftpb.ConfChangeV2, error) {
	if e.GetType() == raftpb.EntryConfChange {
		c := &raftpb.ConfChange{}
		if err := proto.Unmarshal(e.GetData(), c); err != nil {
			return nil, fmt.Errorf("change of members: %w", err)
		}
		return c.AsV2(), nil
	}
	c := &raftpb.ConfChangeV2{}
	if err := proto.Unmarshal(e.GetData(), c); err != nil {
		return nil, fmt.Errorf("change of members: %w", err)
	}
	return c, nil
}

// membersChanged tells those who wait for a change.
func (g *group) membersChanged() {
	g.mu.Lock()
	g.joint = len(g.members().VotersOutgoing) > 0
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()
}

// ForceMembers makes voters the members of group on this host without asking anyone. It is for the case that the
// caller knows the other voters to be gone for ever and no quorum is left, but at least voters-quorum+1 of
// the old ones are: then one of them has every committed entry, and the election among them finds it. It must be called
// with the same voters and term on each of the survivors; term is one more than the highest that any of them
// has (Status.Term). Changes of members up to that term are void from then on.
func (h *Host) ForceMembers(ctx context.Context, group uint32, voters []uint64, term uint64) error {
	g, err := h.group(group)
	if err != nil {
		return err
	}
	return h.call(ctx, func() error { return g.force(slices.Sorted(slices.Values(voters)), term) })
}

func (g *group) force(voters []uint64, term uint64) error {
	h, hard := g.host, g.log.hard
	if term < hard.GetTerm() || len(voters) == 0 {
		return fmt.Errorf("force %d voters at term %d, now at %d", len(voters), term, hard.GetTerm())
	}
	vote := uint64(0)
	if term == hard.GetTerm() {
		vote = hard.GetVote()
	}
	m := &members{index: g.handed, term: term, state: raftpb.EnsureConfState(&raftpb.ConfState{Voters: voters})}
	next := &raftpb.HardState{Term: &term, Vote: &vote, Commit: new(max(hard.GetCommit(), g.handed))}
	h.log.begin()
	if err := h.log.addMembers(g.log, m); err != nil {
		return err
	}
	h.log.addHardState(g.log, next)
	if err := h.log.commit(0); err != nil {
		h.fail(err)
		return err
	}
	g.log.members, g.log.hard, g.log.state = m, next, m.state
	g.voidTerm, g.announce = term, true
	g.restart()
	h.cfg.Logger.Warn("raft members set by force", slog.Int("group", int(g.id)), slog.Any("voters", voters))
	return nil
}

// restart begins raft anew over the log, in memory only.
func (g *group) restart() {
	g.tenure.Store(nil)
	g.leading, g.leadTerm = false, 0
	g.loseWaiting(func(*proposal) bool { return true })
	g.failReads()
	clear(g.held)
	clear(g.sent)
	g.newNode()
	g.membersChanged()
	g.touch()
	if slices.Equal(g.log.state.Voters, []uint64{g.host.cfg.ID}) {
		g.node.Campaign()
	}
}

// Transfer asks group to be led by the voter to. It does not wait for it.
func (h *Host) Transfer(ctx context.Context, group uint32, to uint64) error {
	g, err := h.group(group)
	if err != nil {
		return err
	}
	return h.call(ctx, func() error {
		g.touch()
		if g.node.BasicStatus().RaftState != raft.StateLeader {
			return g.notLeader()
		}
		g.node.TransferLeader(to)
		return nil
	})
}

// Campaign has this host try to lead group now instead of after a timeout.
func (h *Host) Campaign(ctx context.Context, group uint32) error {
	g, err := h.group(group)
	if err != nil {
		return err
	}
	return h.call(ctx, func() error {
		g.touch()
		return g.node.Campaign()
	})
}
