package replica

import (
	"context"
	"errors"
	"slices"
	"time"

	"kintsugi/internal/pace"
	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
)

const (
	// compareWait bounds one comparison: the states are read slowly.
	compareWait = 30 * time.Minute
	// comparePoll is how often the replicas are asked whether they are done.
	comparePoll = time.Second
)

var errDiverged = errors.New("the state differs from that of the other replicas")

// compareNext starts a comparison of the replicas of a group that h leads and that was not compared for long. One at a time.
func (m *Member) compareNext(ctx context.Context, h *host, led []*raftgroup.Status) {
	c := &m.control
	if c.compared == nil {
		c.compared = make([]time.Time, len(led))
		for g := range c.compared { // not all when the process starts, and not all together
			c.compared[g] = time.Now().Add(-m.cfg.CompareEvery * time.Duration(g) / time.Duration(len(led)))
		}
	}
	for g, st := range led {
		if st == nil || time.Since(c.compared[g]) < m.cfg.CompareEvery {
			continue
		}
		select {
		case c.comparing <- struct{}{}:
		default:
			return
		}
		c.compared[g] = time.Now()
		m.running.Go(func() {
			defer func() { <-c.comparing }()
			if err := m.compare(ctx, h, uint32(g), *st); err != nil && ctx.Err() == nil {
				m.log.Info("replicas of a metadata group were not compared", "group", g, "error", err)
			}
		})
		return
	}
}

// compare has all replicas sum up what they hold at the same command, and those that differ from the majority thrown away.
func (m *Member) compare(ctx context.Context, h *host, group uint32, st raftgroup.Status) error {
	ctx, cancel := context.WithTimeout(ctx, compareWait)
	defer cancel()
	cmd, err := meta.EncodeCommand(meta.OpDigest, time.Now(), meta.Digest{})
	if err != nil {
		return err
	}
	result, err := h.raft.Propose(ctx, group, cmd)
	if err != nil {
		return err
	}
	index, ok := result.(uint64)
	if !ok {
		return errFormat
	}
	sums := m.digests(ctx, h, group, index, membersIn(st))
	m.metrics.compared.Inc()
	majority, ok := majorityOf(sums, st.Members.GetVoters())
	for id, sum := range sums {
		if ok && sum == majority {
			continue
		}
		m.metrics.different.Inc()
		m.log.Error("metadata replicas differ", "group", group, "index", index, "replica", id, "digest", sum, "majority", majority, "isKnown", ok)
		if !ok {
			continue // whoever is wrong, it cannot be told
		}
		var a digestAnswer
		q := question{Kind: askDigest, Group: group, Index: index, Majority: &majority}
		if err := m.ask(ctx, id, q, &a); err != nil {
			m.log.Warn("a metadata replica that differs could not be told", "replica", id, "error", err)
		}
	}
	return nil
}

// digests collects the digests of hosts until all are known, or h leads no more, or ctx ends.
func (m *Member) digests(ctx context.Context, h *host, group uint32, index uint64, hosts []uint64) map[uint64]uint64 {
	sums := map[uint64]uint64{}
	for {
		for _, id := range hosts {
			var a digestAnswer
			if _, known := sums[id]; known {
				continue
			}
			if m.ask(ctx, id, question{Kind: askDigest, Group: group, Index: index}, &a) == nil && a.Known {
				sums[id] = a.Sum
			}
		}
		if len(sums) == len(hosts) || h.raft.Leader(group) != h.ID || pace.Pause(ctx, comparePoll) != nil {
			return sums
		}
	}
}

// majorityOf returns the digest that more than half of the voters have.
func majorityOf(sums map[uint64]uint64, voters []uint64) (majority uint64, ok bool) {
	count := map[uint64]int{}
	for id, sum := range sums {
		if !slices.Contains(voters, id) {
			continue
		}
		if count[sum]++; 2*count[sum] > len(voters) {
			return sum, true
		}
	}
	return 0, false
}

// condemn has the controller throw h away.
func (m *Member) condemn(h *host) {
	select {
	case m.control.condemned <- h:
		m.poke()
	default: // one is enough
	}
}
