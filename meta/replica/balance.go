package replica

import (
	"context"
	"slices"
	"sync"
	"time"

	"kintsugi/meta/raftgroup"
)

// settleTime is how long leadership must have been at rest, and how long ago this host must have given a group away,
// before it gives another away.
const settleTime = 3 * time.Second

// limpPause is the pause between two attempts of a host that limps to lead nothing.
const limpPause = time.Second

// leadership is what nextTransfer decides from.
type leadership struct {
	self    uint64
	leaders []uint64   // by group
	fit     [][]uint64 // by group that self leads: the hosts that could lead it at once
	leaving bool       // self should lead nothing
}

// nextTransfer returns a group that should be led by another host: while that host leads fewer groups by two or more, or
// self should lead none. The highest group goes first: group 0, whose leader has more to do, moves last.
func nextTransfer(l leadership) (group int, to uint64, ok bool) {
	count := map[uint64]int{}
	for _, id := range l.leaders {
		if id == 0 {
			return 0, 0, false // wait for the election
		}
		count[id]++
	}
	for g := len(l.leaders) - 1; g >= 0; g-- {
		if l.leaders[g] != l.self {
			continue
		}
		ok = false
		for _, id := range l.fit[g] {
			if id != l.self && (!ok || count[id] < count[to] || count[id] == count[to] && id < to) {
				to, ok = id, true
			}
		}
		if ok && (l.leaving || count[l.self]-count[to] >= 2) {
			return g, to, true
		}
	}
	return 0, 0, false
}

// balance gives a group away if another host should lead it, and all at once if this one limps: each write waits for its drive.
func (m *Member) balance(ctx context.Context, h *host, led []*raftgroup.Status, alive []uint64) {
	c := &m.control
	limps, wait, last := h.raft.Limps(), settleTime, c.movedAt
	if limps {
		wait = limpPause // whatever else moves
	} else if c.changedAt.After(last) {
		last = c.changedAt
	}
	if len(alive) == 0 || time.Since(last) < wait {
		return
	}
	l := leadership{
		self: h.ID, leaders: slices.Clone(c.leaders), fit: make([][]uint64, len(led)),
		leaving: !slices.Contains(alive, h.ID) || !h.hasRoom() || limps,
	}
	for g, st := range led {
		if st == nil {
			continue
		}
		for _, id := range h.successors(*st) {
			if slices.Contains(alive, id) && c.reports[id].Room && !c.reports[id].Limps {
				l.fit[g] = append(l.fit[g], id)
			}
		}
	}
	var moving sync.WaitGroup
	defer moving.Wait()
	for group, to, ok := nextTransfer(l); ok; group, to, ok = nextTransfer(l) {
		c.movedAt = time.Now()
		m.metrics.transfers.Inc()
		moving.Go(func() { m.transfer(ctx, h, group, to) })
		if !limps {
			return
		}
		l.leaders[group] = to
	}
}

// transfer has another host lead a group.
func (m *Member) transfer(ctx context.Context, h *host, group int, to uint64) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := h.raft.Transfer(ctx, uint32(group), to); err != nil {
		m.log.Info("a metadata group is not led by another replica yet", "group", group, "to", to, "error", err)
	}
}

// successors returns the other voters that could lead a group at once.
func (h *host) successors(st raftgroup.Status) []uint64 {
	var ids []uint64
	for _, id := range st.Members.GetVoters() {
		if p := st.Peers[id]; id != h.ID && p.Active && p.CaughtUp {
			ids = append(ids, id)
		}
	}
	return ids
}

// handOver gives all groups that h leads to others and waits for that until ctx ends.
func (h *host) handOver(ctx context.Context, groups int) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	asked := make([]bool, groups)
	for {
		rest := 0
		for g := range groups {
			if h.raft.Leader(uint32(g)) != h.ID {
				continue
			}
			st, err := h.raft.Status(ctx, uint32(g))
			ids := h.successors(st)
			if err != nil || len(ids) == 0 {
				continue
			}
			rest++
			if !asked[g] {
				asked[g] = h.raft.Transfer(ctx, uint32(g), ids[g%len(ids)]) == nil
			}
		}
		if rest == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-h.raft.Failed():
			return
		case <-ticker.C:
		}
	}
}
