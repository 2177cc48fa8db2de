package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"kintsugi/meta/raftgroup"
)

// controlInterval is how often the controller looks although nobody woke it.
const controlInterval = 500 * time.Millisecond

// control keeps every group led and its members as they should be, until ctx ends.
func (s *Set) control(ctx context.Context) {
	ticker := time.NewTicker(controlInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.wake:
		}
		s.noteDead()
		s.watchSpace()
		s.forceWhereSafe()
		if s.Ready() {
			s.openMissing(ctx)
			s.mendMembers(ctx)
		} else {
			s.reopen(ctx)
		}
	}
}

// Ready tells whether every group has a leader among the running hosts.
func (s *Set) Ready() bool {
	for group := range s.cfg.Groups {
		if s.findLeader(uint32(group)) == nil {
			return false
		}
	}
	return true
}

// findLeader asks the running hosts who leads group and remembers the answer.
func (s *Set) findLeader(group uint32) *host {
	var leader *host
	var term uint64
	for _, h := range s.alive() {
		if h.raft.Leader(group) != h.ID {
			continue
		}
		if st := h.status(group); leader == nil || st.Term > term {
			leader, term = h, st.Term
		}
	}
	if leader != nil {
		s.leaders[group].Store(leader.ID)
	}
	return leader
}

// lead lets, for each group without a leader, the host with the newest log stand for
// election now instead of after a timeout. One host leads all groups where it can: in one process
// that saves work.
func (s *Set) lead() {
	ctx, cancel := context.WithTimeout(context.Background(), callHost)
	defer cancel()
	if err := raftgroup.Elect(ctx, rafts(s.alive())...); err != nil {
		s.log.Info("no election yet", "error", err)
	}
}

// noteDead records since when each member has not been running.
func (s *Set) noteDead() {
	for group := range uint32(s.cfg.Groups) {
		leader := s.findLeader(group)
		if leader == nil {
			continue
		}
		s.mu.Lock()
		for _, id := range leader.status(group).Members.GetVoters() {
			if s.hosts[id] != nil {
				delete(s.died, id)
			} else if s.died[id].IsZero() {
				s.died[id] = time.Now()
			}
		}
		s.mu.Unlock()
	}
}

// forceWhereSafe lets survivors go on that are no quorum but hold every committed
// entry (mayForce). Their lineage is written first: a host that comes back without it is stale.
func (s *Set) forceWhereSafe() {
	hosts := s.alive()
	survivors, ok := survivorsToForce(hosts, s.cfg.Groups)
	if !ok {
		return
	}
	lineage := append(slices.Clone(s.lineage), newID())
	for _, h := range survivors {
		r := h.record
		r.Lineage = lineage
		if err := r.write(h.drive.Dir); err != nil {
			s.log.Error("cannot record that the survivors go on", "dir", h.drive.Dir, "error", err)
			return
		}
		h.record = r
	}
	s.lineage = lineage
	s.log.Warn("metadata goes on without the lost drives", "hosts", len(survivors))
	for group := range uint32(s.cfg.Groups) {
		ctx, cancel := context.WithTimeout(context.Background(), callHost)
		if err := raftgroup.Force(ctx, group, rafts(survivors)...); err != nil {
			s.log.Error("cannot force the members", "group", group, "error", err)
		}
		cancel()
	}
	s.lead()
}

// survivorsToForce returns the voters that run, if all groups agree on who votes and
// on that those must and may go on alone.
func survivorsToForce(hosts []*host, groups int) ([]*host, bool) {
	var survivors []*host
	for group := range uint32(groups) {
		var voters []uint64
		for _, h := range hosts {
			m := h.status(group).Members
			if len(m.GetVotersOutgoing()) > 0 {
				return nil, false // a change is under way: quorums of both sides count
			}
			if slices.Contains(m.GetVoters(), h.ID) {
				voters = m.GetVoters()
			}
		}
		var alive []*host
		for _, h := range hosts {
			if slices.Contains(voters, h.ID) {
				alive = append(alive, h)
			}
		}
		if !mayForce(len(voters), len(alive)) || group > 0 && !slices.Equal(alive, survivors) {
			return nil, false
		}
		survivors = alive
	}
	return survivors, true
}

// openMissing gives drives without a host one, as far as more are wanted: a drive that came back
// continues with its own, any other starts empty. The caller knows that every group has a leader.
func (s *Set) openMissing(ctx context.Context) {
	for _, d := range s.idleDrives() {
		if !d.isThere() {
			continue
		}
		r, err := readRecord(d.Dir)
		var h *host
		if err == nil && s.isMember(r.ID) && !r.isStale(s.lineage) && !s.hasFailed(d) {
			h, err = s.openHost(d, r, false)
		} else if len(s.alive()) < int(s.want.Load()) {
			h, err = s.newHost(d, record{ID: newID(), Lineage: s.lineage})
		} else {
			continue
		}
		if err != nil {
			s.log.Warn("metadata replica cannot be made", "dir", d.Dir, "error", err)
			s.postpone(d)
			continue
		}
		s.log.Info("metadata replica started", "dir", d.Dir)
		s.started(ctx, h)
	}
}

// reopen starts the hosts of drives that came back when the others cannot serve without them:
// then it cannot be asked whether they still are members, as it cannot at the start of the process.
func (s *Set) reopen(ctx context.Context) {
	returned := map[string]record{}
	for _, d := range s.idleDrives() {
		if !d.isThere() {
			continue
		}
		if r, err := readRecord(d.Dir); err == nil {
			returned[d.Dir] = r
		}
	}
	all := maps.Clone(returned)
	hosts := s.alive()
	for _, h := range hosts {
		all[h.drive.Dir] = h.record
	}
	newest, err := newestLineage(all)
	if err != nil {
		s.log.Error("metadata replicas that came back are not used", "error", err)
		return
	}
	if len(newest) > len(s.lineage) {
		s.lineage = newest
	}
	for _, h := range hosts {
		if h.isStale(s.lineage) {
			s.hostFailed(h, errLeftBehind)
		}
	}
	maps.DeleteFunc(returned, func(_ string, r record) bool { return r.isStale(s.lineage) })
	if len(returned) == 0 {
		return
	}
	s.openAll(ctx, returned)
	s.lead()
}

var errLeftBehind = errors.New("others went on without it")

// idleDrives returns the drives without a host whose time to be tried has come.
func (s *Set) idleDrives() []Drive {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var idle []Drive
	for _, d := range s.drives {
		if s.hostOn(d) == nil && time.Now().After(s.retry[d]) {
			idle = append(idle, d)
		}
	}
	return idle
}

// hasFailed tells whether the host of d failed in this process: it is not to be trusted again.
func (s *Set) hasFailed(d Drive) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.backoff[d] > 0
}

func (s *Set) postpone(d Drive) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backoff[d] = min(max(2*s.backoff[d], time.Second), time.Minute)
	s.retry[d] = time.Now().Add(s.backoff[d])
}

// isMember tells whether id is a member of every group.
func (s *Set) isMember(id uint64) bool {
	for group := range uint32(s.cfg.Groups) {
		leader := s.findLeader(group)
		if leader == nil {
			return false
		}
		m := leader.status(group).Members
		if !slices.Contains(m.GetVoters(), id) && !slices.Contains(m.GetLearners(), id) {
			return false
		}
	}
	return true
}

// mendMembers makes at most one change of members in each group.
func (s *Set) mendMembers(ctx context.Context) {
	want := int(s.want.Load())
	if want == 0 {
		return
	}
	for group := range uint32(s.cfg.Groups) {
		leader := s.findLeader(group)
		if leader == nil {
			continue
		}
		st := leader.status(group)
		if len(st.Members.GetVotersOutgoing()) > 0 {
			continue // a change is under way
		}
		changes, ok := nextChange(s.membersOf(st), want)
		if !ok {
			continue
		}
		if err := s.change(ctx, leader, group, changes); err != nil {
			s.log.Warn("cannot change the members of a metadata group", "group", group, "error", err)
		}
		s.poke()
	}
}

func (s *Set) membersOf(st raftgroup.Status) members {
	m := members{
		voters: st.Members.GetVoters(), learners: st.Members.GetLearners(), leader: st.Leader, alive: hostIDs(s.alive()),
		caughtUp: map[uint64]bool{}, abandoned: map[uint64]bool{},
	}
	for _, id := range m.learners {
		m.caughtUp[id] = st.Peers[id].CaughtUp
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for id, since := range s.died {
		m.abandoned[id] = time.Since(since) > s.cfg.AbandonAfter
	}
	return m
}

// changeTimeout bounds one change of members; it is tried again.
const changeTimeout = 5 * time.Second

func (s *Set) change(ctx context.Context, leader *host, group uint32, changes []*raftpb.ConfChangeSingle) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if err := leader.raft.ChangeMembers(ctx, group, &raftpb.ConfChangeV2{Changes: changes}); err != nil {
		return fmt.Errorf("%v: %w", changes, err)
	}
	return nil
}

func rafts(hosts []*host) []*raftgroup.Host {
	all := make([]*raftgroup.Host, len(hosts))
	for i, h := range hosts {
		all[i] = h.raft
	}
	return all
}

func hostIDs(hosts []*host) []uint64 {
	ids := make([]uint64, len(hosts))
	for i, h := range hosts {
		ids[i] = h.ID
	}
	return ids
}

// Counts tells how well the metadata is replicated: the worst of all groups.
type Counts struct {
	Want   int `json:"want"`   // voters that every group is to have, given the drives
	Voters int `json:"voters"` // that it has, dead ones included
	Alive  int `json:"alive"`  // of those, how many run
}

// Count asks the leaders.
func (s *Set) Count() Counts {
	s.mu.RLock()
	worst := Counts{Want: min(int(s.want.Load()), len(s.drives)), Voters: -1}
	s.mu.RUnlock()
	alive := hostIDs(s.alive())
	for group := range uint32(s.cfg.Groups) {
		leader := s.findLeader(group)
		if leader == nil {
			return Counts{Want: worst.Want}
		}
		voters := leader.status(group).Members.GetVoters()
		running := 0
		for _, id := range voters {
			if slices.Contains(alive, id) {
				running++
			}
		}
		if worst.Voters < 0 || running < worst.Alive {
			worst.Voters, worst.Alive = len(voters), running
		}
	}
	return worst
}
