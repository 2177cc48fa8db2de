package raftgroup

import (
	"slices"
	"sync"
	"sync/atomic"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// group is one Raft group on this host.
type group struct {
	id   uint32
	host *Host

	// Used by the loop only.
	log       *groupLog
	node      *raft.RawNode
	ready     raft.Ready
	dirty     bool   // the node may have something to do
	lead      uint64 // who leads, as far as known
	leading   bool
	leadTerm  uint64 // of the own leadership
	leadFirst uint64 // index of the first entry of it; 0 until it is appended
	commit    uint64
	handed    uint64 // last index given to the committer
	voidTerm  uint64 // entries up to this term change no members: they were set by force since
	announce  bool   // the next entry given to the committer carries the members
	batch     []*proposal
	unplaced  []*proposal // stepped into raft, index not known yet
	waiting   []*proposal // by index, not committed yet
	reads     readQueue
	held      map[uint64]*raftpb.Message // by peer: commits to be told with the next entries, or a little later
	campaign  int                        // ticks until this host tries to lead; 0: does not
	silence   int                        // ticks since the leader was heard
	sent      map[uint64]int             // snapshots on their way: ticks since
	restoring bool                       // a snapshot is being fetched

	// Published to other goroutines.
	term    atomic.Uint64 // newest term that a vote may have left in
	leader  atomic.Uint64 // who leads, 0 if unknown
	tenure  atomic.Pointer[tenure]
	applied atomic.Uint64
	synced  atomic.Uint64 // up to there the state is durable
	waiters applyWaiters

	mu       sync.Mutex    // guards the following
	position Position      // of the state
	joint    bool          // the configuration is a joint one
	changed  chan struct{} // closed when the members change
}

// tenure is a leadership that has committed an entry of its own term, and so may serve reads.
type tenure struct {
	term     uint64
	first    uint64 // index of its first entry
	voters   []uint64
	outgoing []uint64 // of a joint configuration
}

func newGroup(h *Host, l *groupLog) *group {
	g := &group{
		id: l.id, host: h, log: l,
		held: map[uint64]*raftpb.Message{}, sent: map[uint64]int{}, changed: make(chan struct{}),
	}
	l.snapshot = g.snapshotMetadata
	l.onError = h.fail
	return g
}

// setStart says from where the group is executed: from is where raft begins, at where the state is.
func (g *group) setStart(from, at Position) {
	g.handed, g.commit = from.Index, from.Index
	g.applied.Store(from.Index)
	g.synced.Store(g.log.start)
	g.position = at
	g.joint = len(g.members().VotersOutgoing) > 0
}

// newNode starts raft over the log.
func (g *group) newNode() {
	node, err := raft.NewRawNode(&raft.Config{
		ID:                        g.host.cfg.ID,
		ElectionTick:              g.host.cfg.ElectionTicks,
		HeartbeatTick:             1,
		Storage:                   g.log,
		Applied:                   g.handed,
		MaxSizePerMsg:             1 << 20,
		MaxCommittedSizePerReady:  1 << 20,
		MaxUncommittedEntriesSize: 2 * MaxCommandBytes,
		MaxInflightMsgs:           256,
		MaxInflightBytes:          8 << 20,
		CheckQuorum:               true,
		PreVote:                   true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
		Logger:                    raftLogger{g.host.cfg.Logger},
	})
	if err != nil {
		panic(err) // the configuration above is wrong
	}
	g.node = node
	g.lead, g.leading, g.leadTerm, g.leadFirst = 0, false, 0, 0
	g.leader.Store(0)
	g.tenure.Store(nil)
	g.term.Store(g.log.hard.GetTerm())
	if g.alone() {
		g.campaign = 1
	}
}

// touch notes that the node may have something to do.
func (g *group) touch() {
	if !g.dirty {
		g.dirty = true
		g.host.loop.dirty = append(g.host.loop.dirty, g)
	}
}

// absorb takes over what a Ready says of term and leadership. It runs before any message of it is sent.
func (g *group) absorb(rd *raft.Ready) {
	if hs := rd.HardState; !raft.IsEmptyHardState(hs) {
		g.log.hard = hs
		g.term.Store(hs.GetTerm())
	}
	term := g.log.hard.GetTerm()
	if rd.SoftState != nil {
		lost := g.lead
		g.lead, g.silence = rd.SoftState.Lead, 0
		g.leader.Store(g.lead)
		switch {
		case g.lead != 0:
			g.campaign = 0
		case lost != 0:
			g.orphaned(lost)
		}
		g.leading = rd.SoftState.RaftState == raft.StateLeader
	}
	if g.leading && g.leadTerm != term {
		g.host.metrics.elections.Inc()
	}
	g.placeProposals(rd.Entries)
	if g.leading && g.leadTerm != term {
		g.tenure.Store(nil)
		g.leadFirst = 0
	}
	if g.leading && g.leadFirst == 0 {
		for _, e := range rd.Entries {
			if e.GetTerm() == term {
				g.leadFirst = e.GetIndex()
				break
			}
		}
	}
}

// placeProposals finds the indexes of what was proposed since the last Ready: the node appended it in order.
func (g *group) placeProposals(entries []*raftpb.Entry) {
	if len(g.unplaced) == 0 {
		return
	}
	next := g.unplaced
	for _, e := range entries {
		if len(next) == 0 {
			break
		}
		if e.GetTerm() == next[0].term && len(e.GetData()) > 0 {
			next[0].index = e.GetIndex()
			g.waiting = append(g.waiting, next[0])
			next = next[1:]
		}
	}
	for _, p := range next {
		p.finish(nil, ErrLost)
	}
	clear(g.unplaced)
	g.unplaced = g.unplaced[:0]
}

// settle updates what depends on leadership after the commits of a Ready were handed over.
func (g *group) settle() {
	term := g.log.hard.GetTerm()
	if g.leadTerm != 0 && (!g.leading || g.leadTerm != term) {
		g.tenure.Store(nil)
		g.leadTerm = 0
		g.loseWaiting(func(p *proposal) bool { return !g.leading || p.term != term })
		g.failReads()
		clear(g.held)
		clear(g.sent)
	}
	if !g.leading {
		return
	}
	g.leadTerm = term
	if g.tenure.Load() == nil && g.leadFirst != 0 && g.handed >= g.leadFirst {
		g.publishTenure()
	}
}

// loseWaiting answers the proposals that lost selects.
func (g *group) loseWaiting(lost func(*proposal) bool) {
	g.waiting = slices.DeleteFunc(g.waiting, func(p *proposal) bool {
		if lost(p) {
			p.finish(nil, ErrLost)
			return true
		}
		return false
	})
}

func (g *group) publishTenure() {
	s := g.members()
	g.tenure.Store(&tenure{
		term: g.leadTerm, first: g.leadFirst,
		voters: slices.Clone(s.Voters), outgoing: slices.Clone(s.VotersOutgoing),
	})
}

// members returns the current configuration.
func (g *group) members() *raftpb.ConfState { return raftpb.EnsureConfState(g.log.state) }

// notLeader is the error for requests that only a leader can serve.
func (g *group) notLeader() error {
	lead := g.lead
	if lead == g.host.cfg.ID {
		lead = 0
	}
	return &NotLeaderError{Leader: lead, Term: g.log.hard.GetTerm()}
}
