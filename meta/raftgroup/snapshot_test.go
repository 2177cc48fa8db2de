package raftgroup

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// TestSnapshotBreaks lets the first streams to a new replica break off: it is offered another.
func TestSnapshotBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t, 1, 1, 2, 3)
		for i := range 10 {
			c.put(0, fmt.Sprint(i))
		}
		m := c.machines[1]
		m.mu.Lock()
		m.brokenStreams = 2
		m.mu.Unlock()
		c.open(4)
		must(t, c.hosts[1].ChangeMembers(t.Context(), 0, change(raftpb.ConfChangeAddLearnerNode, 4)))
		c.same(1, 2, 3, 4)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.brokenStreams != 0 {
			t.Errorf("%d streams still to break", m.brokenStreams)
		}
	})
}

// TestSnapshotBreaksForOld lets the stream to a replica break that gave up an older state for it: what is
// left is not to be trusted.
func TestSnapshotBreaksForOld(t *testing.T) {
	c := startCluster(t, 1, 1, 2, 3)
	c.put(0, "a")
	c.same(1, 2, 3)
	m := &raftpb.Message{From: new(uint64(1)), To: new(uint64(3)), Term: new(uint64(99)), Snapshot: &raftpb.Snapshot{}}
	h := c.hosts[3]
	c.net.Cut(1, 3) // so that entries do not come first
	c.put(0, "b")
	c.machines[1].mu.Lock()
	c.machines[1].brokenStreams = 1
	c.machines[1].mu.Unlock()
	must(t, h.call(t.Context(), func() error {
		h.groups[0].receiveSnapshot(m)
		return nil
	}))
	wantFailed(t, h, ErrDamaged)
	delete(c.hosts, 3)
}

// TestSnapshotSourceStops closes the host that a replica reads a state from: both come to an end.
func TestSnapshotSourceStops(t *testing.T) {
	c := startCluster(t, 1, 1, 2, 3)
	c.put(0, "a")
	c.machines[1].mu.Lock()
	c.machines[1].endlessStreams = true
	c.machines[1].mu.Unlock()
	c.open(4)
	must(t, c.hosts[1].ChangeMembers(t.Context(), 0, change(raftpb.ConfChangeAddLearnerNode, 4)))
	c.eventually("a restore", func() error {
		if c.machines[4].restores.Load() == 0 {
			return errors.New("none")
		}
		return nil
	})
	start := time.Now()
	c.close(1)
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("closing took %v", d)
	}
	c.put(0, "b")
	c.same(2, 3, 4)
}
