package raftnet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"kintsugi/meta/raftgroup"
)

func TestCommit(t *testing.T) {
	c := startCluster(t, 2, 1, 2, 3)
	for i := range 50 {
		c.put(0, fmt.Sprint(i))
	}
	c.put(1, "in another group")
	c.put(0, strings.Repeat("large", 1<<20))
	c.same()
}

// A killed leader is followed well before an election would time out; one that ends well, too.
func TestLeaderGone(t *testing.T) {
	for _, how := range []string{"killed", "closed"} {
		t.Run(how, func(t *testing.T) {
			c := startCluster(t, 3, 1, 2, 3, 4, 5)
			for range 2 {
				for g := range uint32(3) {
					c.put(g, "before")
				}
				lost := c.leader(0)
				start := time.Now()
				if how == "killed" {
					c.kill(lost.id)
				} else {
					delete(c.nodes, lost.id)
					must(t, lost.host.Close())
				}
				for g := range uint32(3) {
					c.put(g, "after")
				}
				if d := time.Since(start); d > 1500*time.Millisecond {
					t.Errorf("%v until writes went on", d)
				} else {
					t.Logf("%v until writes went on", d)
				}
			}
			c.same()
		})
	}
}

// That a live leader is said to be gone changes nothing.
func TestFalseAlarm(t *testing.T) {
	c := startCluster(t, 1, 1, 2, 3)
	c.put(0, "before")
	leader := c.leader(0)
	before, err := leader.host.Status(t.Context(), 0)
	must(t, err)
	for id, n := range c.nodes {
		if id != leader.id {
			n.host.PeerGone(leader.id)
			break
		}
	}
	for i := range 20 {
		c.put(0, fmt.Sprint(i))
		time.Sleep(20 * time.Millisecond)
	}
	after, err := leader.host.Status(t.Context(), 0)
	must(t, err)
	if after.Leader != leader.id || after.Term != before.Term {
		t.Errorf("led by %d in term %d, was %d in term %d", after.Leader, after.Term, leader.id, before.Term)
	}
}

// A host that joins late, and one that was away for long, are streamed the state.
func TestSnapshot(t *testing.T) {
	c := startCluster(t, 1, 1, 2, 3)
	for i := range 100 {
		c.put(0, fmt.Sprint(i, strings.Repeat("x", 8000)))
	}
	c.start(4, t.TempDir(), newListMachine())
	change := &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{
		{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(4))},
	}}
	must(t, c.leader(0).host.ChangeMembers(t.Context(), 0, change))
	c.same()
}

func TestOneWayCut(t *testing.T) {
	for _, heard := range []bool{true, false} {
		t.Run(fmt.Sprint("leader is heard: ", heard), func(t *testing.T) {
			c := startCluster(t, 1, 1, 2, 3)
			c.put(0, "before")
			old := c.leader(0)
			delete(c.nodes, old.id)
			for id := range c.nodes {
				if heard {
					c.cut(id, old.id)
				} else {
					c.cut(old.id, id)
				}
			}
			c.put(0, "after")
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := old.host.ReadBarrier(ctx, 0); err == nil {
				t.Error("the old leader allows a read")
			}
			c.heal()
			c.nodes[old.id] = old
			c.put(0, "healed")
			c.same()
		})
	}
}

func TestAbsentPeer(t *testing.T) {
	c := startCluster(t, 1, 1)
	n := c.nodes[1]
	batch := []raftgroup.Envelope{{Message: message(raftpb.MsgHeartbeat, 1, 9)}}
	if err := n.transport.Send(1, 9, batch); !errors.Is(err, raftgroup.ErrUnreachable) {
		t.Errorf("Send to a host without an address: %v", err)
	}
	c.mu.Lock()
	c.addrs[9] = "127.0.0.1:1" // nobody listens
	c.mu.Unlock()
	c.eventually("an error", func() error {
		if err := n.transport.Send(1, 9, batch); !errors.Is(err, raftgroup.ErrUnreachable) {
			return fmt.Errorf("Send = %v", err)
		}
		return nil
	})
}

func TestQueueIsBounded(t *testing.T) {
	c := startCluster(t, 1, 1, 2)
	p := &peer{t: c.nodes[1].transport, wake: make(chan struct{}, 1)}
	big := []raftgroup.Envelope{{Message: message(raftpb.MsgApp, 1, 2, strings.Repeat("x", 1<<20))}}
	for i := range 100 {
		if err := p.enqueue(big); err != nil {
			if i < 10 || !errors.Is(err, raftgroup.ErrUnreachable) {
				t.Errorf("message %d: %v", i, err)
			}
			return
		}
	}
	t.Error("100 MiB were queued")
}

func TestAsk(t *testing.T) {
	c := startCluster(t, 1, 1, 2)
	if _, err := c.nodes[1].transport.Ask(t.Context(), 2, []byte("who")); err == nil {
		t.Error("nobody answers, but there was an answer")
	}
	c.nodes[2].transport.Answer(func(_ context.Context, q []byte) ([]byte, error) { return append(q, " am I"...), nil })
	got, err := c.nodes[1].transport.Ask(t.Context(), 2, []byte("who"))
	if err != nil || string(got) != "who am I" {
		t.Errorf("Ask = %q, %v", got, err)
	}
}

func BenchmarkCommit(b *testing.B) {
	c := startCluster(b, 8, 1, 2, 3)
	leader := c.leader(0)
	data := make([]byte, 500)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := leader.host.Propose(b.Context(), 0, data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadBarrier(b *testing.B) {
	c := startCluster(b, 8, 1, 2, 3)
	leader := c.leader(0)
	for b.Loop() {
		if err := leader.host.ReadBarrier(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
	}
}
