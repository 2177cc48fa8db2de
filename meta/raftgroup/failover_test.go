package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// TestLeaderGone closes the leader: the others know, and do not wait for a timeout.
func TestLeaderGone(t *testing.T) {
	c := startCluster(t, 4, 1, 2, 3, 4, 5)
	c.put(0, "before")
	for _, id := range []uint64{1, 2} {
		start := time.Now()
		c.kill(id)
		for g := range uint32(4) {
			c.put(g, fmt.Sprint("without ", id))
		}
		if d := time.Since(start); d > 700*time.Millisecond {
			t.Errorf("%v until writes went on without %d", d, id)
		}
	}
	c.same(3, 4, 5)
}

// TestElect restarts all hosts, whose logs end at different entries: each group is led at once.
func TestElect(t *testing.T) {
	c := startCluster(t, 4, 1, 2, 3)
	for _, id := range c.first {
		for g := range uint32(4) {
			c.put(g, fmt.Sprint("before the end of ", id))
		}
		c.close(id)
		if id == 2 {
			break
		}
	}
	c.close(3)
	var hosts []*Host
	for _, id := range c.first {
		hosts = append(hosts, c.open(id))
	}
	start := time.Now()
	must(t, Elect(t.Context(), hosts...))
	for g := range uint32(4) {
		c.put(g, "after")
	}
	if d := time.Since(start); d > 700*time.Millisecond {
		t.Errorf("%v until every group was led", d)
	}
	c.same(1, 2, 3)
}

// TestQuorumLost checks that nothing is acknowledged or read without a quorum, and all goes on with one.
func TestQuorumLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t, 1, 1, 2, 3)
		c.put(0, "a")
		c.kill(2)
		c.kill(3)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := c.hosts[1].Propose(ctx, 0, []byte("b")); err == nil {
			t.Error("write acknowledged by one of three")
		}
		if err := c.hosts[1].ReadBarrier(ctx, 0); err == nil {
			t.Error("read allowed by one of three")
		}
		c.open(2)
		c.put(0, "c")
		c.open(3)
		c.same(1, 2, 3)
	})
}

// TestPartition cuts the leader off, in both directions or one, and checks that no stale read or write gets through.
func TestPartition(t *testing.T) {
	tests := []struct {
		name string
		cut  func(n *Memory, a, b uint64)
	}{
		{"both ways", func(n *Memory, a, b uint64) { n.Cut(a, b); n.Cut(b, a) }},
		{"leader hears nothing", func(n *Memory, a, b uint64) { n.Cut(b, a) }},
		{"leader is not heard", func(n *Memory, a, b uint64) { n.Cut(a, b) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := startCluster(t, 1, 1, 2, 3)
				c.put(0, "a")
				tt.cut(c.net, 1, 2)
				tt.cut(c.net, 1, 3)
				lost := make(chan error, 1)
				go func() {
					_, err := c.hosts[1].Propose(t.Context(), 0, []byte("lost"))
					lost <- err
				}()
				c.eventually("another leader", func() error {
					if c.hosts[2].groups[0].tenure.Load() == nil && c.hosts[3].groups[0].tenure.Load() == nil {
						return errors.New("none")
					}
					if err := c.hosts[1].ReadBarrier(shortly(t), 0); err == nil {
						// It may still lead, but then nobody else has.
						if c.hosts[2].groups[0].tenure.Load() != nil || c.hosts[3].groups[0].tenure.Load() != nil {
							t.Error("read from a deposed leader")
						}
					}
					return nil
				})
				old := c.hosts[1]
				delete(c.hosts, 1)
				c.put(0, "b")
				if err := <-lost; err == nil {
					t.Error("write acknowledged by the minority")
				}
				if err := old.ReadBarrier(shortly(t), 0); err == nil {
					t.Error("read allowed in the minority")
				}
				c.net.Heal()
				c.hosts[1] = old
				c.put(0, "c")
				c.same(2, 3, 1)
			})
		})
	}
}

// shortly returns a context that ends soon.
func shortly(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestConflict has a leader append what it cannot commit; the next leader's entries replace it, also after a restart.
func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t, 1, 1, 2, 3)
		c.put(0, "a")
		for _, id := range []uint64{2, 3} {
			c.net.Cut(1, id)
			c.net.Cut(id, 1)
		}
		for i := range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			if _, err := c.hosts[1].Propose(ctx, 0, fmt.Append(nil, "uncommitted ", i)); err == nil {
				t.Error("committed alone")
			}
			cancel()
		}
		c.kill(1)
		c.put(0, "b")
		c.net.Heal()
		c.open(1)
		c.put(0, "c")
		c.same(2, 3, 1)
		c.close(1)
		c.open(1)
		c.same(2, 3, 1)
	})
}

// TestLossyNetwork commits through a network that loses a third of the messages.
func TestLossyNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t, 2, 1, 2, 3)
		var n atomic.Uint64
		c.net.Drop(func(d Delivery) bool { return n.Add(0x9e3779b97f4a7c15)>>60 < 5 })
		for i := range 30 {
			c.put(uint32(i%2), fmt.Sprint(i))
		}
		c.net.Drop(nil)
		c.same(1, 2, 3)
	})
}

// TestReadIndex confirms leadership by messages where terms cannot be looked at.
func TestReadIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, 2, 3)
		c.tune = func(cfg *Config) { cfg.Transport = messagesOnly{c.net} }
		for _, id := range c.first {
			c.open(id)
		}
		c.lead(1)
		if c.hosts[1].terms != nil {
			t.Fatal("terms can be looked at")
		}
		done := make(chan error, 20)
		for range 20 {
			go func() { done <- c.hosts[1].ReadBarrier(t.Context(), 1) }()
		}
		for range 20 {
			must(t, <-done)
		}
		var not *NotLeaderError
		if err := c.hosts[2].ReadBarrier(t.Context(), 1); !errors.As(err, &not) || not.Leader != 1 {
			t.Errorf("read from a follower: %v", err)
		}
		c.net.Cut(2, 1)
		c.net.Cut(3, 1)
		if err := c.hosts[1].ReadBarrier(shortly(t), 1); err == nil {
			t.Error("read without a quorum")
		}
	})
}

// TestSilentLeader stops hearing a leader that nobody can tell to be gone: the next one leads soon, whatever the random timeouts.
func TestSilentLeader(t *testing.T) {
	for range 30 {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 1, 1, 2, 3)
			c.tune = func(cfg *Config) { cfg.Transport, cfg.ElectionTicks = messagesOnly{c.net}, 7 }
			for _, id := range c.first {
				c.open(id)
			}
			c.lead(1)
			c.put(0, "before")
			for _, id := range c.first[1:] {
				c.net.Cut(1, id)
				c.net.Cut(id, 1)
			}
			delete(c.hosts, 1)
			start := time.Now()
			c.put(0, "after")
			if d := time.Since(start); d < 600*time.Millisecond || d > 1500*time.Millisecond {
				t.Errorf("%v until the next one led", d)
			}
		})
	}
}

// messagesOnly hides all of a Memory but what every Transport has.
type messagesOnly struct{ Transport }

func TestTransfer(t *testing.T) {
	c := startCluster(t, 1, 1, 2, 3)
	c.put(0, "a")
	must(t, c.hosts[1].Transfer(t.Context(), 0, 3))
	c.eventually("leadership of 3", func() error { return c.hosts[3].ReadBarrier(t.Context(), 0) })
	c.put(0, "b")
	var not *NotLeaderError
	if err := c.hosts[1].Transfer(t.Context(), 0, 2); !errors.As(err, &not) {
		t.Errorf("transfer by a follower: %v", err)
	}
}

// TestCommitTold checks that followers execute what is committed without further entries.
func TestCommitTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t, 1, 1, 2, 3)
		c.put(0, "only one")
		time.Sleep(holdDelay + 40*time.Millisecond)
		for id, m := range c.machines {
			if len(m.commands(0)) != 1 {
				t.Errorf("replica %d has not executed it", id)
			}
		}
	})
}

func change(typ raftpb.ConfChangeType, ids ...uint64) *raftpb.ConfChangeV2 {
	c := &raftpb.ConfChangeV2{}
	for _, id := range ids {
		c.Changes = append(c.Changes, &raftpb.ConfChangeSingle{Type: typ.Enum(), NodeId: &id})
	}
	return c
}
