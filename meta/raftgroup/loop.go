package raftgroup

import (
	"log/slog"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

const (
	// holdDelay is how long the leader may keep a commit to itself that it has no entries to send with.
	holdDelay = 20 * time.Millisecond
	// checkTicks is the number of ticks between looks at the directory of the log.
	checkTicks = 5
)

// loopState is what the loop keeps between rounds.
type loopState struct {
	work   work
	dirty  []*group
	active []*group
	out    []peerBatch
	late   []Envelope
	items  []committed
	hold   *time.Timer
	held   bool // hold is running
	ticks  int
	wrote  bool // since the last tick
	limp   limp
	gone   map[uint64]bool // peers that were said to be gone and not heard of since
}

// peerBatch is what goes to one peer.
type peerBatch struct {
	to    uint64
	batch []Envelope
}

func (s *loopState) init(h *Host) {
	s.hold = time.NewTimer(time.Hour)
	s.hold.Stop()
	s.gone = map[uint64]bool{}
	for _, g := range h.groups {
		g.touch()
	}
}

// run is the loop.
func (h *Host) run() error {
	ticker := time.NewTicker(h.cfg.TickInterval)
	defer ticker.Stop()
	defer h.loop.hold.Stop()
	if err := h.round(true); err != nil { // single voters need not wait for a tick
		return err
	}
	for {
		tick := false
		select {
		case <-h.stopping:
			return nil
		case <-ticker.C:
			tick = true
		case <-h.inbox.wake:
		case <-h.loop.hold.C:
			h.loop.held = false
			h.releaseHeld()
		}
		if err := h.round(tick); err != nil {
			return err
		}
	}
}

// round takes all that came in and works until raft has nothing more to do.
func (h *Host) round(tick bool) error {
	w := &h.loop.work
	h.inbox.take(w)
	for i := range w.messages {
		h.step(&w.messages[i])
	}
	for _, f := range w.calls {
		f()
	}
	if tick {
		if err := h.tick(); err != nil {
			return err
		}
	}
	h.propose(w.proposals)
	h.startReads(w.reads)
	for {
		more, err := h.advance()
		if err != nil || !more {
			return err
		}
	}
}

// tick lets time pass for every group and looks after the log.
func (h *Host) tick() error {
	for _, g := range h.groups {
		g.node.Tick()
		g.tick()
		g.touch()
	}
	s := &h.loop
	if s.ticks++; s.ticks%checkTicks == 0 {
		if err := h.log.present(); err != nil {
			return err
		}
		h.log.prepareSpare()
	}
	if !s.wrote {
		if err := h.log.mark(); err != nil {
			return err
		}
	}
	s.wrote = false
	return h.shorten()
}

// tick counts down what the group waits for.
func (g *group) tick() {
	if g.campaign > 0 {
		if g.campaign--; g.campaign == 0 && g.lead == 0 {
			g.node.Campaign()
		}
	}
	g.listen()
	for to, age := range g.sent {
		if g.sent[to] = age + 1; age > snapshotTicks {
			delete(g.sent, to)
			g.node.ReportSnapshot(to, raft.SnapshotFailure)
		}
	}
}

// silenceTicks is by how much the first in line lets an election's least timeout pass. Raft's own timeout is random, up to
// twice as long, and might fall late on every voter.
const silenceTicks = 2

// listen tries to follow a leader over a network that has been silent for too long: the voters one after the other.
func (g *group) listen() {
	if g.host.terms != nil || g.leading || g.lead == 0 {
		return
	}
	g.silence++
	if rank := g.rank(g.lead); rank >= 0 && g.silence == g.host.cfg.ElectionTicks+silenceTicks*(1+rank) {
		g.node.Campaign()
	}
}

// orphaned has the voters try one after the other, soon, where an election may have begun by Raft's own timeout: two
// that timed out together divide the votes, and their next timeouts are as long and as random.
func (g *group) orphaned(lost uint64) {
	if rank := g.rank(lost); rank >= 0 && g.host.terms == nil && g.campaign == 0 {
		g.campaign = campaignRetryTicks + rank
	}
}

// shorten drops the oldest segments of a log that has grown too long.
func (h *Host) shorten() error {
	want, can := h.log.droppable(func(i int) uint64 { return max(h.groups[i].synced.Load(), h.log.groups[i].start) })
	if want > can {
		h.committer.requestSync()
	}
	return h.log.drop(can)
}

// step gives a message to its group.
func (h *Host) step(e *Envelope) {
	if e.Group == everyGroup && e.Message.GetType() == raftpb.MsgForgetLeader {
		h.loop.gone[e.Message.GetFrom()] = true
		for _, g := range h.groups {
			g.peerGone(e.Message.GetFrom())
		}
		return
	}
	if int64(e.Group) >= int64(len(h.groups)) {
		return
	}
	g, m := h.groups[e.Group], e.Message
	if len(h.loop.gone) > 0 {
		delete(h.loop.gone, m.GetFrom())
	}
	g.touch()
	if m.GetFrom() == g.lead {
		g.silence = 0
	}
	switch m.GetType() {
	case raftpb.MsgSnap:
		g.receiveSnapshot(m)
	case raftpb.MsgSnapStatus:
		g.reportSnapshot(m.GetFrom(), m.GetReject())
	case raftpb.MsgProp, raftpb.MsgHup, raftpb.MsgReadIndex, raftpb.MsgTransferLeader, raftpb.MsgForgetLeader:
		// These come from this host alone.
	default:
		if err := g.node.Step(m); err != nil {
			h.cfg.Logger.Debug("raft message refused", slog.Any("error", err))
		}
	}
}

// advance handles what every group has ready: messages that need not wait go out, everything is written with one sync,
// then the answers go out and the commits to the committer.
func (h *Host) advance() (more bool, err error) {
	s := &h.loop
	h.collect()
	if len(s.active) == 0 {
		return false, nil
	}
	h.log.begin()
	for _, g := range s.active {
		h.handle(g)
		if len(h.log.batch.buf) > maxRoundBytes {
			if err := h.write(); err != nil {
				return false, err
			}
			h.log.begin()
		}
	}
	h.flush()
	if err := h.write(); err != nil {
		return false, err
	}
	for _, e := range s.late {
		h.post(e)
	}
	clear(s.late)
	s.late = s.late[:0]
	for _, g := range s.active {
		g.commits()
		g.node.Advance(g.ready)
		g.settle()
		g.serveReads(g.ready.ReadStates)
		g.ready = raft.Ready{}
		g.touch()
	}
	h.flush()
	h.committer.push(s.items)
	clear(s.items)
	s.items = s.items[:0]
	return true, nil
}

// write makes the batch durable, if there is anything in it.
func (h *Host) write() error {
	if h.log.batch.records == 0 {
		return nil
	}
	h.loop.wrote = true
	took, err := h.metrics.timeSync(func() error { return h.log.commit(0) })
	h.loop.limp.note(took)
	return err
}

// collect fetches the Ready of every group that has one.
func (h *Host) collect() {
	s := &h.loop
	clear(s.active)
	s.active = s.active[:0]
	for _, g := range s.dirty {
		g.dirty = false
		if g.node.HasReady() {
			g.ready = g.node.Ready()
			s.active = append(s.active, g)
		}
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
}

// handle takes over leadership, sends what need not wait and puts the rest into the batch.
func (h *Host) handle(g *group) {
	rd := &g.ready
	g.absorb(rd)
	for _, m := range rd.Messages {
		switch m.GetType() {
		case raftpb.MsgAppResp, raftpb.MsgVoteResp, raftpb.MsgPreVoteResp:
			h.loop.late = append(h.loop.late, Envelope{g.id, m})
		default:
			h.post(Envelope{g.id, m})
		}
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		meta := rd.Snapshot.GetMetadata()
		g.log.startAt(meta.GetIndex(), meta.GetTerm())
		h.log.addStart(g.log, meta.GetIndex(), meta.GetTerm())
		g.installed(meta)
	}
	for _, e := range rd.Entries {
		h.log.addEntry(g.log, e)
	}
	if rd.MustSync && !raft.IsEmptyHardState(rd.HardState) {
		h.log.addHardState(g.log, rd.HardState)
	}
}
