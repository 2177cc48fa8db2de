package raftgroup

import (
	"context"
	"fmt"
)

// Elect has every group led without waiting for a timeout: where hosts, all of this process, know no leader,
// the one with the newest log campaigns, the first of them if there are several. It does not wait for the outcome.
func Elect(ctx context.Context, hosts ...*Host) error {
	if len(hosts) == 0 {
		return nil
	}
	for g := range uint32(len(hosts[0].groups)) {
		var best *Host
		var newest Status
		led := false
		for _, h := range hosts {
			s, err := h.Status(ctx, g)
			if err != nil {
				return fmt.Errorf("replica %d: %w", h.ID(), err)
			}
			led = led || s.Leader != 0
			if s.Voter && (best == nil || s.newerThan(newest)) {
				best, newest = h, s
			}
		}
		if led || best == nil {
			continue
		}
		if err := best.Campaign(ctx, g); err != nil {
			return fmt.Errorf("replica %d: %w", best.ID(), err)
		}
	}
	return nil
}

// newerThan tells whether a voter with the log of t would vote for one with that of s, but not the other way round.
func (s Status) newerThan(t Status) bool {
	return s.LastTerm > t.LastTerm || s.LastTerm == t.LastTerm && s.Last > t.Last
}

// Force makes hosts, all of this process, the only voters of group. See ForceMembers for when that is right.
func Force(ctx context.Context, group uint32, hosts ...*Host) error {
	var voters []uint64
	term := uint64(0)
	for _, h := range hosts {
		s, err := h.Status(ctx, group)
		if err != nil {
			return fmt.Errorf("replica %d: %w", h.ID(), err)
		}
		voters, term = append(voters, h.ID()), max(term, s.Term)
	}
	for _, h := range hosts {
		if err := h.ForceMembers(ctx, group, voters, term+1); err != nil {
			return fmt.Errorf("replica %d: %w", h.ID(), err)
		}
	}
	return nil
}
