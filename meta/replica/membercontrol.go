package replica

import (
	"context"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"kintsugi/meta/raftgroup"
)

// memberControl is what the controller keeps between rounds. Only its goroutine uses it, but for the channels.
type memberControl struct {
	failures  chan error // of hosts that ran
	condemned chan *host // hosts that differ from the others

	cause    error     // why there is no host
	brokenAt time.Time // since when
	retry    time.Time // not before
	backoff  time.Duration

	missed  map[uint64]time.Time // members that are not alive: since when
	reports map[uint64]report    // of the other hosts
	asked   time.Time            // when they were asked

	leaders   []uint64  // of the groups, when last looked at
	changedAt time.Time // when one of them changed
	movedAt   time.Time // when this host gave one away

	compared  []time.Time // by group
	comparing chan struct{}
}

func (c *memberControl) init() {
	c.failures, c.condemned = make(chan error, 16), make(chan *host, 1)
	c.missed, c.reports = map[uint64]time.Time{}, map[uint64]report{}
	c.comparing = make(chan struct{}, 1)
}

// broken notes that there is no host any more.
func (c *memberControl) broken(cause error) {
	if time.Since(c.brokenAt) > time.Minute {
		c.backoff = 0
	}
	c.cause, c.brokenAt = cause, time.Now()
	if c.backoff > 0 {
		c.postpone()
	}
	c.backoff = max(c.backoff, 500*time.Millisecond)
}

func (c *memberControl) postpone() {
	c.backoff = min(max(2*c.backoff, 500*time.Millisecond), time.Minute)
	c.retry = time.Now().Add(c.backoff)
}

// run is the controller: it keeps the host running, and the members of the groups that the host leads as they should be.
func (m *Member) run(ctx context.Context) {
	ticker := time.NewTicker(controlInterval)
	defer ticker.Stop()
	for {
		select {
		case h := <-m.control.condemned:
			m.drop(h, errDiverged)
		default:
		}
		m.keepHost(ctx)
		if h := m.current(); h != nil {
			m.attend(ctx, h)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-m.wake:
		}
	}
}

// attend looks after the groups that h leads.
func (m *Member) attend(ctx context.Context, h *host) {
	led := make([]*raftgroup.Status, m.cfg.Groups)
	leaders := make([]uint64, m.cfg.Groups)
	leads := false
	alive := m.cfg.Peers.Alive()
	known := map[uint64]bool{}
	for g, st := range h.statuses(m.cfg.Groups) {
		leaders[g] = st.Leader
		for _, id := range membersIn(st) {
			known[id] = true
		}
		if st.Leader == h.ID && st.Peers != nil {
			led[g], leads = &st, true
		}
	}
	m.control.noteMissed(known, alive)
	m.control.noteLeaders(leaders)
	if !leads {
		m.full.Store(false)
		return
	}
	m.askReports(ctx, h, known)
	m.watchRoom(h, led)
	for g, st := range led {
		if st != nil {
			m.mend(ctx, h, uint32(g), *st, alive)
		}
	}
	m.balance(ctx, h, led, alive)
	m.compareNext(ctx, h, led)
}

func membersIn(st raftgroup.Status) []uint64 {
	return slices.Concat(st.Members.GetVoters(), st.Members.GetLearners(), st.Members.GetVotersOutgoing())
}

// noteMissed records since when each member has not been alive.
func (c *memberControl) noteMissed(known map[uint64]bool, alive []uint64) {
	for id := range c.missed {
		if !known[id] {
			delete(c.missed, id)
		}
	}
	if len(alive) == 0 {
		clear(c.missed)
		return // nothing is known
	}
	for id := range known {
		if slices.Contains(alive, id) {
			delete(c.missed, id)
		} else if c.missed[id].IsZero() {
			c.missed[id] = time.Now()
		}
	}
}

// noteLeaders records when leadership changed last.
func (c *memberControl) noteLeaders(leaders []uint64) {
	if !slices.Equal(leaders, c.leaders) {
		c.leaders, c.changedAt = leaders, time.Now()
	}
}

// mend makes at most one change of the members of a group that h leads.
func (m *Member) mend(ctx context.Context, h *host, group uint32, st raftgroup.Status, alive []uint64) {
	want := int(m.want.Load())
	if want == 0 || len(alive) == 0 || len(st.Members.GetVotersOutgoing()) > 0 {
		return
	}
	changes, ok := nextChange(m.membersOf(st, alive), want)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	err := h.raft.ChangeMembers(ctx, group, &raftpb.ConfChangeV2{Changes: changes})
	if err != nil {
		m.log.Warn("cannot change the members of a metadata group", "group", group, "changes", changes, "error", err)
		return
	}
	m.log.Info("members of a metadata group changed", "group", group, "changes", changes)
	m.poke()
}

// membersOf is what nextChange decides from. A member that has not been away for long counts as alive.
func (m *Member) membersOf(st raftgroup.Status, alive []uint64) members {
	v := members{
		voters: st.Members.GetVoters(), learners: st.Members.GetLearners(), leader: st.Leader,
		alive: slices.Clone(alive), caughtUp: map[uint64]bool{}, abandoned: map[uint64]bool{},
	}
	for _, id := range v.learners {
		v.caughtUp[id] = st.Peers[id].CaughtUp
	}
	for id, since := range m.control.missed {
		if time.Since(since) < m.cfg.AbandonAfter {
			v.alive, v.away = append(v.alive, id), append(v.away, id)
		}
	}
	var dead []uint64
	for _, id := range v.voters {
		if !slices.Contains(v.alive, id) {
			dead = append(dead, id)
		}
	}
	if shrinkHelps(len(v.voters), len(dead)) {
		for _, id := range dead {
			v.abandoned[id] = true
		}
	}
	return v
}
