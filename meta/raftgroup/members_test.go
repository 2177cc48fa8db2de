package raftgroup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.etcd.io/raft/v3/raftpb"
)

// TestReplace replaces a dead voter as a controller would: a learner that catches up by snapshot, then a joint change.
func TestReplace(t *testing.T) {
	c := startCluster(t, 2, 1, 2, 3)
	for i := range 300 {
		c.put(uint32(i%2), fmt.Sprint(i, strings.Repeat("x", 8000)))
	}
	c.eventually("a shorter log", func() error {
		s, err := c.hosts[1].Status(t.Context(), 0)
		if err == nil && s.First <= 2 {
			err = fmt.Errorf("begins at %d", s.First)
		}
		return err
	})
	c.kill(3)
	c.open(4)
	for g := range uint32(2) {
		lead := c.leader(g)
		must(t, lead.ChangeMembers(t.Context(), g, change(raftpb.ConfChangeAddLearnerNode, 4)))
		c.eventually("the learner", func() error {
			s, err := lead.Status(t.Context(), g)
			if err == nil && !s.Peers[4].CaughtUp {
				err = fmt.Errorf("%+v", s.Peers[4])
			}
			return err
		})
		swap := change(raftpb.ConfChangeAddNode, 4)
		swap.Changes = append(swap.Changes, change(raftpb.ConfChangeRemoveNode, 3).Changes...)
		must(t, lead.ChangeMembers(t.Context(), g, swap))
		s, err := lead.Status(t.Context(), g)
		must(t, err)
		if !slices.Equal(s.Members.Voters, []uint64{1, 2, 4}) || len(s.Members.VotersOutgoing)+len(s.Members.Learners) > 0 {
			t.Errorf("members %v", s.Members)
		}
	}
	c.same(1, 2, 4)
	c.put(0, "after")
	c.close(4)
	c.open(4)
	c.put(1, "after restart")
	c.same(1, 2, 4)
	// The new configuration holds after restarts, of log and state alike: 1 dies, 2 and 4 are a quorum.
	c.kill(1)
	c.put(0, "without 1")
	c.same(2, 4)
}

// TestLagging has a follower miss so much that only a snapshot helps.
func TestLagging(t *testing.T) {
	c := startCluster(t, 1, 1, 2, 3)
	c.put(0, "a")
	c.kill(3)
	for i := range 300 {
		c.put(0, fmt.Sprint(i, strings.Repeat("x", 8000)))
	}
	c.open(3)
	c.same(1, 2, 3)
	c.eventually("a snapshot", func() error { // the state has it a little before the log
		s, err := c.hosts[3].Status(t.Context(), 0)
		if err == nil && s.First < 10 {
			err = fmt.Errorf("log of 3 begins at %d", s.First)
		}
		return err
	})
	c.close(3)
	c.open(3)
	c.put(0, "b")
	c.same(1, 2, 3)
}

// TestForce goes on with one of two voters, and with two of four, whichever has the newest entries.
func TestForce(t *testing.T) {
	tests := []struct {
		voters, dead []uint64
	}{
		{[]uint64{1, 2}, []uint64{1}},
		{[]uint64{1, 2}, []uint64{2}},
		{[]uint64{1, 2, 3, 4}, []uint64{1, 2}},
		{[]uint64{1, 2, 3, 4}, []uint64{3, 4}},
		{[]uint64{1, 2, 3, 4}, []uint64{1, 4}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d without %d", tt.voters, tt.dead), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := startCluster(t, 2, tt.voters...)
				for i := range 20 {
					c.put(uint32(i%2), fmt.Sprint("before ", i))
				}
				for _, id := range tt.dead {
					c.kill(id)
				}
				var alive []uint64
				for id := range c.hosts {
					alive = append(alive, id)
				}
				slices.Sort(alive)
				for g := range uint32(2) {
					c.force(g, alive)
				}
				c.put(0, "after")
				if n := len(c.machines[alive[0]].commands(1)); n != 10 {
					c.put(1, "flush")
				}
				c.same(alive...)
				if got := c.machines[alive[0]].commands(0); len(got) != 11 {
					t.Errorf("%d commands, want 11", len(got))
				}
				for _, id := range alive {
					c.kill(id)
				}
				for _, id := range alive {
					c.open(id)
				}
				c.put(0, "after restart")
				c.same(alive...)
				// It grows again.
				c.open(9)
				for g := range uint32(2) {
					c.eventually("new voter", func() error {
						return c.leader(g).ChangeMembers(t.Context(), g, change(raftpb.ConfChangeAddNode, 9))
					})
				}
				c.put(1, "with 9")
				c.same(append(alive, 9)...)
			})
		})
	}
}

// force makes alive the voters of group on all of them.
func (c *cluster) force(group uint32, alive []uint64) {
	c.t.Helper()
	var hosts []*Host
	for _, id := range alive {
		hosts = append(hosts, c.hosts[id])
	}
	must(c.t, Force(c.t.Context(), group, hosts...))
}

// TestForceVoidsChanges forces members while a change is in the log of one survivor: it must not come back.
func TestForceVoidsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t, 1, 1, 2, 3, 4)
		c.put(0, "a")
		for _, id := range []uint64{2, 3, 4} {
			c.net.Cut(1, id)
		}
		if err := c.hosts[1].ChangeMembers(shortly(t), 0, change(raftpb.ConfChangeRemoveNode, 2)); err == nil {
			t.Error("changed alone")
		}
		c.kill(3)
		c.kill(4)
		c.net.Heal()
		c.force(0, []uint64{1, 2})
		c.put(0, "b")
		c.same(1, 2)
		for id := range c.hosts {
			s, err := c.hosts[id].Status(t.Context(), 0)
			must(t, err)
			if !slices.Equal(s.Members.Voters, []uint64{1, 2}) {
				t.Errorf("replica %d has %v", id, s.Members)
			}
		}
	})
}

func TestChangeRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t, 1, 1, 2, 3)
		c.net.Cut(1, 2)
		c.net.Cut(1, 3)
		first := make(chan error, 1)
		go func() {
			first <- c.hosts[1].ChangeMembers(t.Context(), 0, change(raftpb.ConfChangeAddLearnerNode, 7))
		}()
		synctest.Wait()
		if err := c.hosts[1].ChangeMembers(t.Context(), 0, change(raftpb.ConfChangeAddLearnerNode, 8)); !errors.Is(err, ErrMembersPending) {
			t.Errorf("second change: %v", err)
		}
		c.net.Heal()
		must(t, <-first)
		var not *NotLeaderError
		if err := c.hosts[2].ChangeMembers(t.Context(), 0, change(raftpb.ConfChangeAddLearnerNode, 8)); !errors.As(err, &not) {
			t.Errorf("change by a follower: %v", err)
		}
	})
}
