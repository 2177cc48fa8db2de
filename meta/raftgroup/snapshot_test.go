package raftgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// lag has replica 3 miss a command, and returns what its leader would then offer.
func lag(t *testing.T, c *cluster) *raftpb.Message {
	c.put(0, "a")
	c.same(1, 2, 3)
	c.net.Cut(1, 3) // so that entries do not come first
	c.put(0, "b")
	return &raftpb.Message{From: new(uint64(1)), To: new(uint64(3)), Term: new(uint64(99)), Snapshot: &raftpb.Snapshot{}}
}

func (c *cluster) offer(id uint64, m *raftpb.Message) {
	c.t.Helper()
	h := c.hosts[id]
	if err := h.call(c.t.Context(), func() error {
		h.groups[0].receiveSnapshot(m)
		return nil
	}); err != nil {
		c.t.Fatal(err)
	}
}

// TestSnapshotBreaksForOld lets the stream to a replica break that has an older state: it keeps that, and goes on with the next.
func TestSnapshotBreaksForOld(t *testing.T) {
	c := startCluster(t, 1, 1, 2, 3)
	m := lag(t, c)
	c.machines[1].mu.Lock()
	c.machines[1].brokenStreams = 1
	c.machines[1].mu.Unlock()
	c.offer(3, m)
	c.eventually("the end of the fetch", func() error {
		return c.hosts[3].call(t.Context(), func() error {
			if c.hosts[3].groups[0].restoring {
				return errors.New("goes on")
			}
			return nil
		})
	})
	if got := c.machines[3].commands(0); !slices.Equal(got, []string{"a"}) {
		t.Errorf("replica has %q after a stream that broke", got)
	}
	c.net.Heal()
	c.same(1, 2, 3)
	if n := c.machines[3].restores.Load(); n != 0 {
		t.Errorf("%d restores began", n)
	}
}

// TestRestoreBreaks ends a host in the middle of a restore: the state is gone, and is restored when it starts again, although
// the peer that it came from is no more.
func TestRestoreBreaks(t *testing.T) {
	c := startCluster(t, 1, 1, 2, 3)
	m := lag(t, c)
	h := c.hosts[3]
	c.machines[3].mu.Lock()
	c.machines[3].brokenRestore = true
	c.machines[3].mu.Unlock()
	path := spoolPath(h.cfg.Dir, 0)
	kept := filepath.Join(t.TempDir(), "kept")
	c.machines[3].onRestore = func() { must(t, os.Link(path, kept)) } // a crash would leave it
	c.offer(3, m)
	wantFailed(t, h, ErrDamaged)
	must(t, os.Rename(kept, path))
	c.kill(1)
	c.machines[3].crash()
	c.net.Heal()
	c.open(3)
	if got := c.machines[3].commands(0); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("replica has %q after the restore", got)
	}
	c.put(0, "c")
	c.same(2, 3)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file stayed: %v", err)
	}
}

// TestLaggingMajority leaves a leader with a follower that needs a snapshot: nothing can be committed before it has that.
func TestLaggingMajority(t *testing.T) {
	c := newCluster(t, 1, 1, 2, 3)
	c.tune = func(cfg *Config) { cfg.LogBytes = 256 << 10 }
	for _, id := range c.first {
		c.open(id)
	}
	c.lead(1)
	c.put(0, "a")
	c.same(1, 2, 3)
	c.kill(3)
	for i := range 60 {
		c.put(0, fmt.Sprint(i, strings.Repeat("x", 16<<10)))
	}
	c.eventually("a shorter log", func() error {
		if s, _ := c.hosts[2].Status(t.Context(), 0); s.First <= 2 {
			return errors.New("not yet")
		}
		return nil
	})
	c.kill(1)
	c.open(3)
	c.put(0, "b")
	c.same(2, 3)
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
	c.eventually("a fetch", func() error {
		_, err := os.Stat(spoolPath(c.hosts[4].cfg.Dir, 0) + spoolSuffix)
		return err
	})
	start := time.Now()
	c.close(1)
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("closing took %v", d)
	}
	c.put(0, "b")
	c.same(2, 3, 4)
}
