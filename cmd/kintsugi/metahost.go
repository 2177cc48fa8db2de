package main

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"kintsugi/meta"
	"kintsugi/meta/metarpc"
	"kintsugi/meta/replica"
)

// metaHost runs the metadata replica of a process on one of its drives. When that drive fails, another gets a new one.
// Its methods but current are for the monitor.
type metaHost struct {
	n       *node
	running atomic.Pointer[replica.Member]
	on      *bay // where it runs
}

// current returns the replica that runs, nil if there is none. It implements what metarpc wants of a process.
func (h *metaHost) current() metarpc.Local {
	if m := h.running.Load(); m != nil {
		return m
	}
	return nil
}

// id is that of the replica that runs or will be born, 0 if there is none.
func (h *metaHost) id() uint64 {
	if m := h.running.Load(); m != nil {
		return m.ID()
	}
	return h.n.record.get().Host
}

// tend starts a replica where there is none, and replaces one that failed.
func (h *metaHost) tend(bays []*bay) {
	if m := h.running.Load(); m != nil {
		select {
		case <-m.Failed():
			h.stop(m.Err())
		default:
			m.SetWant(h.n.wantReplicas())
			return
		}
	}
	f := h.n.founding.Load()
	if f == nil || len(bays) == 0 {
		return
	}
	b := h.choose(bays)
	if err := h.start(b); err != nil {
		h.n.log.Warn("metadata replica cannot be started", "dir", b.dir, "error", err)
	}
}

// choose prefers the drive that has a replica already.
func (h *metaHost) choose(bays []*bay) *bay {
	at, _ := findReplica(dirsOf(bays))
	return bays[max(at, 0)]
}

// findReplica returns which of the directories has a metadata replica, and its id; -1 if none is known to have one.
func findReplica(dirs []string) (at int, id uint64) {
	for at, dir := range dirs {
		if id, ok, err := replica.MemberRecord(dir); ok && err == nil {
			return at, id
		}
	}
	return -1, 0
}

// start opens the replica on b: one of the first voters if this process was there when the cluster was founded.
func (h *metaHost) start(b *bay) error {
	f, reserved := h.n.founding.Load(), h.n.record.get().Host
	cfg := replica.MemberConfig{
		Groups: f.Groups, Transport: h.n.transport, Peers: h.n.directory,
		Logger: h.n.log.With("dir", b.dir), Registerer: h.n.metrics,
	}
	_, made, err := replica.MemberRecord(b.dir)
	if err != nil {
		h.n.log.Warn("metadata replica is damaged and will be rebuilt", "dir", b.dir, "error", err)
	}
	var m *replica.Member
	if reserved != 0 && !made && slices.Contains(f.Voters, reserved) {
		m, err = replica.Found(cfg, b.replicaDrive(), reserved, f.Voters)
	} else {
		m, err = replica.OpenMember(cfg, b.replicaDrive())
	}
	if err != nil {
		return err
	}
	if reserved != 0 {
		if err := h.n.record.born(); err != nil {
			h.n.log.Warn("what is known of the cluster cannot be kept", "error", err)
		}
	}
	m.SetWant(h.n.wantReplicas())
	h.on = b
	h.running.Store(m)
	h.n.log.Info("metadata replica started", "dir", b.dir, "host", m.ID())
	return nil
}

// lost stops the replica if it is on b.
func (h *metaHost) lost(b *bay) {
	if h.on == b && h.running.Load() != nil {
		h.stop(errGone)
	}
}

func (h *metaHost) stop(cause error) {
	m := h.running.Swap(nil)
	h.n.log.Warn("metadata replica is lost", "dir", h.on.dir, "error", cause)
	h.on = nil
	if err := m.Close(); err != nil {
		h.n.log.Info("closing the metadata replica", "error", err)
	}
}

// close stops the replica in good order.
func (h *metaHost) close() error {
	if m := h.running.Swap(nil); m != nil {
		return m.Close()
	}
	return nil
}

// recall returns the id of the replica that is there, or reserves one, before anybody hears of this process.
func (h *metaHost) recall(dirs []string) (uint64, error) {
	if at, id := findReplica(dirs); at >= 0 {
		return id, nil
	}
	return h.n.record.reserve(replica.NewHostID)
}

// leader returns the replica that leads the group of the cluster map, 0 if none is known.
func (h *metaHost) leader() uint64 {
	if m := h.running.Load(); m != nil {
		return m.Leader(mapGroup)
	}
	return 0
}

// leading counts the groups that this process leads.
func (h *metaHost) leading() int {
	if m := h.running.Load(); m != nil {
		return len(m.Leads())
	}
	return 0
}

// confirm returns nil once a majority agrees that this process leads the group of the cluster map.
func (h *metaHost) confirm(ctx context.Context) error {
	m := h.running.Load()
	if m == nil {
		return errNoReplica
	}
	_, err := m.Query(ctx, mapGroup, meta.BucketsQuery{Max: 1}, meta.Linearizable)
	return err
}

var errNoReplica = errors.New("no metadata replica runs here")

// leads tells whether this process leads the group in which the cluster map is.
func (h *metaHost) leads() bool {
	m := h.running.Load()
	return m != nil && m.Leader(mapGroup) == m.ID()
}

// mapGroup is the group that keeps the cluster map.
const mapGroup = 0
