package raftgroup

import (
	"context"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// Status is how one group stands, as this host sees it.
type Status struct {
	Leader   uint64 // 0: unknown
	Term     uint64
	Commit   uint64
	Applied  uint64
	First    uint64 // oldest entry in the log
	Last     uint64 // newest entry
	LastTerm uint64
	Voter    bool // this host is one
	Members  *raftpb.ConfState
	Peers    map[uint64]Progress // of every member; on the leader only
}

// Progress is how far a member is, as its leader sees it.
type Progress struct {
	Match    uint64 // known to be in its log
	Learner  bool
	Active   bool // heard of within an election timeout
	Snapshot bool // is being sent one
	CaughtUp bool // has all that is committed, or nearly: a learner may become a voter
}

// caughtUpEntries is how far behind the commit index a member may be that counts as caught up.
const caughtUpEntries = 256

// Leader returns who leads group as far as this host knows, or 0. It costs nothing.
func (h *Host) Leader(group uint32) uint64 {
	g, err := h.group(group)
	if err != nil {
		return 0
	}
	return g.leader.Load()
}

// Status returns how group stands.
func (h *Host) Status(ctx context.Context, group uint32) (Status, error) {
	g, err := h.group(group)
	if err != nil {
		return Status{}, err
	}
	var s Status
	err = h.call(ctx, func() error {
		s = g.status()
		return nil
	})
	if err != nil {
		return Status{}, err // the loop may still write s
	}
	return s, nil
}

func (g *group) status() Status {
	rs := g.node.Status()
	s := Status{
		Leader: rs.Lead, Term: rs.GetTerm(), Commit: rs.GetCommit(), Applied: g.applied.Load(),
		First: g.log.start + 1, Last: g.log.last(),
		Members: proto.Clone(g.members()).(*raftpb.ConfState),
	}
	s.LastTerm, _ = g.log.Term(s.Last)
	s.Voter = slices.Contains(s.Members.Voters, g.host.cfg.ID)
	if rs.RaftState != raft.StateLeader {
		return s
	}
	s.Peers = map[uint64]Progress{}
	for id, p := range rs.Progress {
		s.Peers[id] = Progress{
			Match: p.Match, Learner: p.IsLearner, Active: p.RecentActive || id == g.host.cfg.ID,
			Snapshot: p.State == tracker.StateSnapshot,
			CaughtUp: p.State == tracker.StateReplicate && p.Match+caughtUpEntries >= s.Commit,
		}
	}
	return s
}
