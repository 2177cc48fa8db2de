package raftgroup

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// A follower that needs entries which the leader has dropped gets a MsgSnap. It carries no state: the follower
// streams that from the leader into a file (spool.go), beside its other work, then has the machine restore it, and only then
// shows raft the message, with the position that the stream had. A crash in between leaves the state ahead of the log,
// which Open sets right; a crash within the restore leaves a state without position, which Open restores from the file.

// snapshotTicks is how long the leader waits for word of a snapshot before it offers another.
const snapshotTicks = 50

// restore is a snapshot, already fetched, for the committer to restore.
type restore struct {
	done func(at Position, err error)
}

// snapshotMetadata is what raft sends to a follower that is too far behind. A leader must not wait with it until it has
// executed an entry of its own term: where it needs just that follower for its majority, it never would.
func (g *group) snapshotMetadata() (*raftpb.Snapshot, error) {
	g.mu.Lock()
	at := g.position
	g.mu.Unlock()
	if at.Index == 0 || at.Index < g.log.start || at.Members == nil || g.voidBehind(at.Index) {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		Index: new(at.Index), Term: new(at.Term), ConfState: at.Members,
	}}, nil
}

// voidBehind tells whether there are entries behind index whose changes of members are void (see ForceMembers): who
// begins there would not know. Terms never fall along the log.
func (g *group) voidBehind(index uint64) bool {
	if g.voidTerm == 0 || index >= g.log.last() {
		return false
	}
	term, err := g.log.Term(index + 1)
	return err != nil || term <= g.voidTerm
}

// pins are the snapshots of this host that peers are reading. The host is not done before they are.
type pins struct {
	mu     sync.Mutex // guards closed, and adding to open
	closed bool
	open   sync.WaitGroup
}

// wait forbids new ones and waits for the others.
func (p *pins) wait() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.open.Wait()
}

// pinned is a snapshot whose stream breaks when its host stops.
type pinned struct {
	Snapshot
	host *Host
}

// PinSnapshot implements Receiver.
func (h *Host) PinSnapshot(group uint32) (Snapshot, error) {
	if _, err := h.group(group); err != nil {
		return nil, err
	}
	h.pins.mu.Lock()
	defer h.pins.mu.Unlock()
	if h.pins.closed || h.stopped.Load() {
		return nil, ErrStopped
	}
	s, err := h.cfg.Machine.Snapshot(group)
	if err != nil {
		return nil, fmt.Errorf("pin snapshot: %w", err)
	}
	h.pins.open.Add(1)
	return &pinned{s, h}, nil
}

// WriteTo implements Snapshot. If w can be closed with an error, that happens when the host stops.
func (p *pinned) WriteTo(w io.Writer) (int64, error) {
	defer p.host.whenStopping(func() {
		if c, ok := w.(interface{ CloseWithError(error) error }); ok {
			c.CloseWithError(ErrStopped)
		}
	})()
	return p.Snapshot.WriteTo(w)
}

// Close implements Snapshot.
func (p *pinned) Close() error {
	defer p.host.pins.open.Done()
	return p.Snapshot.Close()
}

// receiveSnapshot fetches the state that m offers. One at a time: raft repeats the offer.
func (g *group) receiveSnapshot(m *raftpb.Message) {
	if g.restoring || m.GetTerm() < g.log.hard.GetTerm() {
		return
	}
	g.restoring = true
	h := g.host
	h.fetches.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		defer h.whenStopping(cancel)()
		at, err := h.fetch(ctx, g, m)
		h.inLoop(func() {
			if err != nil || at.Index <= g.applied.Load() {
				g.restored(m, h.present(g), err)
				return
			}
			h.restore(g, func(at Position, err error) { h.inLoop(func() { g.restored(m, at, err) }) })
		})
	})
}

// inLoop has the loop call f, unless the host stops.
func (h *Host) inLoop(f func()) {
	h.inbox.put(func(w *work) error {
		w.calls = append(w.calls, f)
		return nil
	})
}

// restore gives what was fetched to the committer.
func (h *Host) restore(g *group, done func(Position, error)) {
	s := &h.loop
	s.items = append(s.items, committed{group: g, restore: &restore{done}})
	h.committer.push(s.items)
	clear(s.items)
	s.items = s.items[:0]
}

// restored shows raft the snapshot that the state now holds, and tells the leader how it went.
func (g *group) restored(m *raftpb.Message, at Position, err error) {
	g.restoring = false
	g.touch()
	if err != nil {
		g.host.cfg.Logger.Warn("snapshot not restored", slog.Int("group", int(g.id)), slog.Any("error", err))
	} else {
		g.node.Step(&raftpb.Message{
			Type: raftpb.MsgSnap.Enum(), To: new(m.GetTo()), From: new(m.GetFrom()), Term: new(m.GetTerm()),
			Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
				Index: new(at.Index), Term: new(at.Term), ConfState: raftpb.EnsureConfState(at.Members),
			}},
		})
	}
	g.host.queue(m.GetFrom(), Envelope{g.id, &raftpb.Message{
		Type: raftpb.MsgSnapStatus.Enum(), To: new(m.GetFrom()), From: new(g.host.cfg.ID), Reject: new(err != nil),
	}})
	g.host.flush()
}

// reportSnapshot takes the word of a follower on a snapshot.
func (g *group) reportSnapshot(from uint64, failed bool) {
	delete(g.sent, from)
	status := raft.SnapshotFinish
	if failed {
		status = raft.SnapshotFailure
	}
	g.node.ReportSnapshot(from, status)
}

// installed takes over the members of a snapshot that raft accepted.
func (g *group) installed(meta *raftpb.SnapshotMetadata) {
	g.log.state = meta.GetConfState()
	g.handed = max(g.handed, meta.GetIndex())
	g.announce = false
	g.membersChanged()
}

// runRestore restores what was fetched, in the committer. It returns an error only if the host cannot go on.
func (h *Host) runRestore(g *group, r *restore) error {
	before := g.applied.Load()
	at, err := h.unspool(g.id, before)
	switch {
	case err != nil && before > 0:
		return fmt.Errorf("group %d: state half restored: %w: %w", g.id, ErrDamaged, err)
	case err == nil && at.Index <= before:
		at = h.present(g)
	case err == nil:
		g.mu.Lock()
		g.position = at
		g.mu.Unlock()
		g.applied.Store(at.Index)
		if err := h.committer.syncMachine(); err != nil {
			return err
		}
		g.waiters.reached(at.Index)
		h.metrics.snapshots.Inc()
	}
	r.done(at, err)
	return nil
}

// whenStopping calls f when the host stops, until the returned function is called.
func (h *Host) whenStopping(f func()) func() {
	over := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-h.stopping:
			f()
		case <-over:
		}
	}()
	return func() { close(over); <-ended }
}

// present returns the position of the state.
func (h *Host) present(g *group) Position {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.position
}
