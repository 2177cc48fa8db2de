package metarpc

import (
	"errors"
	"slices"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
)

// search is the way of one call from replica to replica. Its next and failed decide and do no I/O.
type search struct {
	client  *Client
	request *request
	turn    uint64   // which of the replicas is next where no leader is known
	asked   []uint64 // those that failed, without repetition
	late    int      // attempts that ran out of time
	again   int      // hints to those that were asked before
	pause   time.Duration
	last    error // of the last attempt
	// uncertain: a proposal that failed may be executed, as late as its receiver, perhaps stopped, comes to it.
	uncertain bool
}

// next chooses whom to ask: the leader if one is known, else one replica after the other. Those that were
// silent a moment ago come last.
func (s *search) next(now time.Time) (host uint64, ok bool) {
	c := s.client
	local := c.cfg.Local()
	if s.request.kind != eventualRead {
		if leader := c.leaders[s.request.group].Load(); leader != 0 && !c.health.isSuspect(leader, now) {
			return leader, true
		}
	}
	hosts := c.cfg.Directory.Hosts()
	self := uint64(0)
	if local != nil {
		self = c.self(local)
	}
	if s.request.kind == eventualRead {
		return s.nearest(hosts, self, now)
	}
	return s.inTurn(hosts, self, now)
}

// nearest chooses for an eventual read: this process, then who answers soonest, of those that were not asked yet.
func (s *search) nearest(hosts []uint64, self uint64, now time.Time) (best uint64, ok bool) {
	h := &s.client.health
	if self != 0 && !slices.Contains(s.asked, self) && !h.isSuspect(self, now) {
		return self, true
	}
	bestLatency := time.Duration(0)
	for _, host := range withSelf(hosts, self) {
		if slices.Contains(s.asked, host) {
			continue
		}
		latency := h.latencyOf(host)
		if h.isSuspect(host, now) {
			latency += time.Hour
		}
		if !ok || latency < bestLatency {
			best, bestLatency, ok = host, latency, true
		}
	}
	switch {
	case ok:
		return best, true
	case s.request.alone:
		return s.inTurn(hosts, self, now)
	}
	s.request.alone, s.asked = true, nil // all were asked: once more, and those that lost touch will do
	return s.nearest(hosts, self, now)
}

// inTurn chooses among all, without those that are suspect unless all are. This process is first.
func (s *search) inTurn(hosts []uint64, self uint64, now time.Time) (host uint64, ok bool) {
	h := &s.client.health
	if self != 0 && len(s.asked) == 0 && !h.isSuspect(self, now) {
		return self, true
	}
	all := withSelf(hosts, self)
	good := make([]uint64, 0, len(all))
	for _, host := range all {
		if !h.isSuspect(host, now) {
			good = append(good, host)
		}
	}
	if len(good) == 0 {
		good = all
	}
	if len(good) == 0 {
		return 0, false
	}
	s.turn++
	return good[s.turn%uint64(len(good))], true
}

// withSelf adds the replica of this process, if there is one and the directory does not know it yet.
func withSelf(hosts []uint64, self uint64) []uint64 {
	if self == 0 || slices.Contains(hosts, self) {
		return hosts
	}
	return append(slices.Clone(hosts), self)
}

// timeout is how long the next attempt may take.
func (s *search) timeout() time.Duration {
	t := leaderTimeout
	if s.request.kind == eventualRead {
		t = replicaTimeout
	}
	for range min(s.late, 8) {
		t += t / 2
	}
	return t
}

// doubts tells whether a final answer is to be confirmed by another replica: one that is new knows no bucket yet, and
// a stale read must not deny what has been there for long.
func (s *search) doubts(host uint64, err error) bool {
	if s.request.kind != eventualRead || !errors.Is(err, meta.ErrNoSuchBucket) {
		return false
	}
	for _, other := range s.client.cfg.Directory.Hosts() {
		if other != host && !slices.Contains(s.asked, other) {
			return true
		}
	}
	return false
}

// failed notes the failure of an attempt and returns how long to wait before the next.
func (s *search) failed(host uint64, err error) time.Duration {
	c := s.client
	fresh := !slices.Contains(s.asked, host)
	if fresh {
		s.asked = append(s.asked, host)
	}
	s.last = err
	s.uncertain = s.uncertain || s.request.kind == proposal && !neverProposed(err)
	reason, suspicion := reasonOf(err)
	c.metrics.retries.WithLabelValues(reason).Inc()
	if suspicion > 0 {
		now := time.Now()
		if !c.health.isSuspect(host, now) {
			c.log.Info("metadata replica does not answer", "replica", host, "group", s.request.group, "error", err)
		}
		c.health.suspect(host, now.Add(suspicion))
	}
	if errors.Is(err, errSilent) {
		s.late++
	}
	if s.request.kind != eventualRead && !errors.Is(err, raftgroup.ErrBusy) {
		if s.followed(host, err) {
			return 0
		}
	}
	// The first round goes without a pause where nobody answered: an idle moment helps only those who elect.
	if fresh && (suspicion > 0 || s.request.kind == eventualRead) {
		return 0
	}
	s.pause = min(max(2*s.pause, minPause), maxPause)
	return s.pause
}

// followed forgets host as the leader and takes its hint to another one; false if there is none to follow.
func (s *search) followed(host uint64, err error) bool {
	leader := &s.client.leaders[s.request.group]
	var notLeader *raftgroup.NotLeaderError
	if !errors.As(err, &notLeader) || notLeader.Leader == 0 || notLeader.Leader == host ||
		s.client.health.isSuspect(notLeader.Leader, time.Now()) {
		leader.CompareAndSwap(host, 0)
		return false
	}
	if !slices.Contains(s.asked, notLeader.Leader) {
		leader.Store(notLeader.Leader)
		return true
	}
	// It may lead by now, or two that are behind name each other while a third one leads: every other hint is passed over.
	if s.again++; s.again%2 == 0 {
		leader.CompareAndSwap(host, 0)
		return false
	}
	leader.Store(notLeader.Leader)
	return false
}

// neverProposed tells whether a proposal failed before anybody could execute it.
func neverProposed(err error) bool {
	var notLeader *raftgroup.NotLeaderError
	return errors.As(err, &notLeader) || errors.Is(err, raftgroup.ErrBusy) || errors.Is(err, rpc.ErrRefused) || errors.Is(err, errNoHosts)
}

// Times for which a replica is asked after all others.
const (
	silentSuspicion = time.Second            // longer than the others need to see that it is silent
	brokenSuspicion = 250 * time.Millisecond // it says at once that it is not there
)

// reasonOf names a failure for the metrics and tells for how long the replica is suspect.
func reasonOf(err error) (string, time.Duration) {
	var notLeader *raftgroup.NotLeaderError
	switch {
	case errors.As(err, &notLeader):
		return "not_leader", 0
	case errors.Is(err, raftgroup.ErrBusy):
		return "busy", 0
	case errors.Is(err, errSilent):
		return "silent", silentSuspicion
	case errors.Is(err, rpc.ErrUnreachable), errors.Is(err, rpc.ErrBroken), errors.Is(err, rpc.ErrRefused):
		return "unreachable", brokenSuspicion
	case errors.Is(err, errNoHosts):
		return "no_hosts", 0
	}
	return "replica", 0
}
