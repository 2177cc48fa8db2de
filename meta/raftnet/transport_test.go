package raftnet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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
	c.put(0, strings.Repeat("large", 1<<19))
	c.same()
}

// A killed leader is followed without waiting for an election's timeout, which is 6 s here; one that ends well, too.
func TestLeaderGone(t *testing.T) {
	for _, how := range []string{"killed", "closed"} {
		t.Run(how, func(t *testing.T) {
			c := startWithTicks(t, 60, 3, 1, 2, 3, 4, 5)
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
				d := time.Since(start)
				t.Logf("%v until writes went on", d)
				if d > 5*time.Second {
					t.Error("that is a timeout")
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
	away := c.nodes[3]
	c.kill(3)
	for i := range 100 {
		c.put(0, fmt.Sprint(i, strings.Repeat("x", 8000)))
	}
	c.start(4, t.TempDir(), newListMachine())
	change := &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{
		{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(4))},
	}}
	must(t, c.leader(0).host.ChangeMembers(t.Context(), 0, change))
	c.start(3, away.dir, away.machine)
	c.same()
}

// Whatever fails, nothing acknowledged is lost and all end with the same.
func TestRandom(t *testing.T) {
	c := startCluster(t, 1, 1, 2, 3, 4, 5)
	seed := time.Now().UnixNano()
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	t.Logf("seed %d", seed)
	var down []*node
	var acknowledged []string
	pick := func() uint64 { return c.first[r.IntN(len(c.first))] }
	for i := range 30 {
		switch n := c.nodes[pick()]; r.IntN(5) {
		case 0:
			if n != nil && len(down) < 2 {
				c.kill(n.id)
				down = append(down, n)
			}
		case 1:
			if len(down) > 0 {
				c.start(down[0].id, down[0].dir, down[0].machine)
				down = down[1:]
			}
		case 2:
			c.cut(pick(), pick())
		case 3:
			c.heal()
		}
		if data := fmt.Sprint("command ", i); c.tryPut(data, 300*time.Millisecond) {
			acknowledged = append(acknowledged, data)
		}
	}
	c.heal()
	for _, n := range down {
		c.start(n.id, n.dir, n.machine)
	}
	c.put(0, "last")
	c.same()
	got := c.nodes[1].machine.commands(0)
	for _, data := range acknowledged {
		if !slices.Contains(got, data) {
			t.Errorf("%q was acknowledged and is lost", data)
		}
	}
	t.Logf("%d of 30 acknowledged", len(acknowledged))
}

// tryPut proposes data to one host after the other and tells whether it was acknowledged in time.
func (c *cluster) tryPut(data string, limit time.Duration) bool {
	for start := time.Now(); time.Since(start) < limit; time.Sleep(time.Millisecond) {
		for _, n := range c.nodes {
			ctx, cancel := context.WithTimeout(c.t.Context(), limit)
			_, err := n.host.Propose(ctx, 0, []byte(data))
			cancel()
			if err == nil {
				return true
			}
		}
	}
	return false
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
