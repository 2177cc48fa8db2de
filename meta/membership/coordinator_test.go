package membership

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/placement"
)

// holder returns the node that has the drive, as a process knows it.
func holder(d *Directory, id placement.DriveID) Peer {
	peers := d.Peers()
	if i := slices.IndexFunc(peers, func(p Peer) bool { return slices.Contains(p.Drives, id) }); i >= 0 {
		return peers[i]
	}
	return Peer{}
}

func state(m *placement.Map, drive int) string {
	d, ok := m.Drive(driveID(drive))
	if !ok {
		return "unknown"
	}
	return d.State.String()
}

func TestTheFirstMapReachesEverybody(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		metas, nodes := w.cluster(5)
		time.Sleep(time.Second)
		_, err := metas[0].coord.Change(t.Context(), func(m *placement.Map) (*placement.Map, error) { return m, nil })
		if !errors.Is(err, ErrNoMap) {
			t.Errorf("a change before the first map: %v", err)
		}
		time.Sleep(3 * time.Second)
		for _, p := range append(metas, nodes...) {
			m := p.clusterMap()
			if m == nil || m.Epoch != 1 || len(m.Drives) != 5 || m.K != 2 || !p.mayWrite() {
				t.Fatalf("%s has %+v, may write: %v", p.node.Name, m, p.mayWrite())
			}
		}
		if got := len(nodes[0].dir.Peers()); got != 7 {
			t.Errorf("n0 knows %d others", got)
		}
		if p := holder(nodes[0].dir, driveID(3)); p.Node.Name != "n3" || p.Node.Addr == "" || !p.Up {
			t.Errorf("drive 3 is at %+v", p)
		}
		if got := metas[1].dir.Alive(); len(got) != 3 {
			t.Errorf("alive are %v", got)
		}
	})
}

func TestNewsArriveAtOnce(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		metas, nodes := w.cluster(5)
		time.Sleep(10 * time.Second)
		_, err := metas[0].coord.Change(t.Context(), func(m *placement.Map) (*placement.Map, error) { return Drain(m, ids(2)) })
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		for _, p := range nodes {
			if p.epoch() != 2 {
				t.Errorf("%s has epoch %d", p.node.Name, p.epoch())
			}
		}
		_, err = metas[1].coord.Change(t.Context(), func(m *placement.Map) (*placement.Map, error) { return m, nil })
		if !errors.Is(err, ErrNotCoordinator) || !strings.Contains(err.Error(), "m1:1") {
			t.Errorf("another node: %v", err)
		}
	})
}

func TestNodesThatStartTogetherMakeOneEpoch(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		_, nodes := w.cluster(3)
		time.Sleep(5 * time.Second)
		for i := 3; i < 9; i++ {
			w.start("x"+string(rune('0'+i)), rpc.Storage, 0, []string{"m1:1"}, i)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		if m := nodes[0].clusterMap(); m.Epoch != 2 || len(m.Drives) != 9 {
			t.Errorf("epoch %d with %d drives", m.Epoch, len(m.Drives))
		}
	})
}

func TestADeadNode(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		metas, nodes := w.cluster(6)
		time.Sleep(5 * time.Second)
		m := nodes[0].clusterMap()
		nodes[3].kill()
		time.Sleep(2200 * time.Millisecond)
		if p := holder(nodes[0].dir, driveID(3)); p.Up {
			t.Error("n3 is still up")
		}
		var down []string
		nodes[0].get(func() { down = nodes[0].down })
		if len(down) != 1 || down[0] != "n3:1" {
			t.Errorf("down is %v", down)
		}
		time.Sleep(5 * time.Second) // 2+1 has no redundancy left: it is given up at once
		if got := state(nodes[0].clusterMap(), 3); got != "out" {
			t.Fatalf("drive 3 is %s", got)
		}
		open := nodes[0].clusterMap().Open()
		if len(open) == 0 {
			t.Fatal("nothing moves")
		}
		nodes[1].get(func() { nodes[1].clean = []Clean{{Epoch: m.Epoch + 1, Partitions: open[:1]}} })
		time.Sleep(2 * time.Second)
		nodes[2].get(func() { nodes[2].clean = []Clean{{Epoch: m.Epoch + 1, Partitions: open}} })
		time.Sleep(2 * time.Second)
		if got := nodes[0].clusterMap().Open(); len(got) != 0 {
			t.Errorf("%d still move", len(got))
		}
		again := w.start("n3", rpc.Storage, 0, []string{"m1:1"}, 3)
		time.Sleep(2 * time.Second)
		if got := state(again.clusterMap(), 3); got != "up" {
			t.Errorf("after its return it is %s", got)
		}
		status, err := metas[0].coord.Status()
		if err != nil || len(status) != 9 || !status[6].Up || status[6].Beat.Node.Name != "n3" || len(status[6].Beat.Drives) != 1 {
			t.Errorf("status %+v, %v", status, err)
		}
	})
}

func TestANodeThatLeavesIsDownAtOnce(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		_, nodes := w.cluster(4)
		time.Sleep(5 * time.Second)
		nodes[3].stop()
		time.Sleep(100 * time.Millisecond)
		if p := holder(nodes[0].dir, driveID(3)); p.Up {
			t.Error("it is still up")
		}
	})
}

// TestFailover kills and stops the coordinator: nobody else loses the right to write, or is taken for dead.
func TestFailover(t *testing.T) {
	for _, c := range []struct {
		name     string
		fail     func(*proc)
		election time.Duration
	}{
		{"killed", (*proc).kill, 400 * time.Millisecond},
		{"stopped", func(p *proc) { p.frozen.Store(true) }, 1500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			within(t, func(t *testing.T, w *world) {
				metas, nodes := w.cluster(5)
				time.Sleep(5*time.Second + 130*time.Millisecond)
				c.fail(metas[0])
				for elapsed := time.Duration(0); elapsed < 12*time.Second; elapsed += 50 * time.Millisecond {
					if elapsed == c.election {
						w.group.lead(2)
					}
					time.Sleep(50 * time.Millisecond)
					for _, p := range nodes {
						if !p.mayWrite() {
							t.Fatalf("%s may not write %v after", p.node.Name, elapsed)
						}
						for _, peer := range p.dir.Peers() {
							if !peer.Up && peer.Node.Name != "m1" {
								t.Fatalf("%s takes %s for dead", p.node.Name, peer.Node.Name)
							}
						}
					}
				}
				if got := nodes[0].epoch(); got != 1 {
					t.Errorf("epoch %d", got)
				}
				if got := nodes[0].dir.Leader(); got != "m2:1" {
					t.Errorf("n0 follows %s", got)
				}
				if metas[0].dead.Load() {
					return
				}
				metas[0].frozen.Store(false) // it wakes up, and thinks that it leads
				metas[0].believes.Store(1)
				time.Sleep(2500 * time.Millisecond)
				if metas[0].coord.Leading() {
					t.Error("the old coordinator still coordinates")
				}
				metas[0].believes.Store(0)
				time.Sleep(5 * time.Second)
				if !metas[0].mayWrite() || nodes[0].dir.Leader() != "m2:1" || nodes[0].epoch() != 1 {
					t.Errorf("afterwards m1 may write: %v, n0 follows %s", metas[0].mayWrite(), nodes[0].dir.Leader())
				}
			})
		})
	}
}

// TestACoordinatorWithoutMajority believes that it leads for ever: it changes nothing and its grants end.
func TestACoordinatorWithoutMajority(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		metas, nodes := w.cluster(5)
		time.Sleep(5 * time.Second)
		for _, p := range append(metas, nodes...) {
			p.believes.Store(1)
		}
		w.group.lead(2)
		drain := func(m *placement.Map) (*placement.Map, error) { return Drain(m, ids(1)) }
		if _, err := metas[0].coord.Change(t.Context(), drain); err == nil {
			t.Error("it changes the map before it knows")
		}
		nodes[4].kill()
		time.Sleep(4500 * time.Millisecond)
		if nodes[0].mayWrite() || metas[0].coord.Leading() {
			t.Error("it still grants")
		}
		if _, err := metas[0].coord.Change(t.Context(), drain); !errors.Is(err, ErrNotCoordinator) {
			t.Errorf("it still changes the map: %v", err)
		}
		time.Sleep(15 * time.Second)
		if m, err := w.group.ClusterMap(t.Context()); err != nil || m.Epoch != 1 {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// TestACoordinatorThatWasStoppedBriefly lets it find only old beats when it goes on.
func TestACoordinatorThatWasStoppedBriefly(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		metas, nodes := w.cluster(5)
		time.Sleep(5 * time.Second)
		c := metas[0].coord
		c.mu.Lock()
		c.term.stepped = time.Now().Add(-3 * frozenTooLong / 2)
		for _, e := range c.term.table.nodes {
			e.heard = time.Now().Add(-3 * time.Second)
		}
		c.mu.Unlock()
		time.Sleep(time.Second)
		nodes[0].get(func() {
			if len(nodes[0].down) > 0 {
				t.Errorf("%v are taken for dead", nodes[0].down)
			}
		})
	})
}

// TestACommitWhoseAnswerIsLost expects that it is not taken for a failure, nor made twice.
func TestACommitWhoseAnswerIsLost(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		metas, nodes := w.cluster(5)
		time.Sleep(5 * time.Second)
		w.group.mu.Lock()
		w.group.lose = 1
		w.group.mu.Unlock()
		m, err := metas[0].coord.Change(t.Context(), func(m *placement.Map) (*placement.Map, error) { return Drain(m, ids(1)) })
		if err != nil || m.Epoch != 2 {
			t.Fatalf("%+v, %v", m, err)
		}
		time.Sleep(time.Second)
		if nodes[0].epoch() != 2 {
			t.Errorf("n0 has epoch %d", nodes[0].epoch())
		}
	})
}

func TestStrangersAreRefused(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		metas, nodes := w.cluster(4)
		time.Sleep(5 * time.Second)
		b := beatOf("n9", 9)
		b.Cluster = placement.ClusterID{99}
		a, err := metas[0].coord.Beat(t.Context(), b)
		if err != nil || !strings.Contains(a.Refused, "belongs to") || a.Lease != 0 || a.Peers != nil {
			t.Errorf("a node of another cluster: %+v, %v", a, err)
		}
		twin := w.start("n1", rpc.Storage, 0, []string{"m1:1"}, 20)
		twin.node.Addr = "twin:1"
		twin.dir.SetSelf(func(n *Node) { n.Addr = "twin:1" })
		time.Sleep(3 * time.Second)
		var reason string
		twin.get(func() { reason = twin.refused })
		if !strings.Contains(reason, "another node named n1") {
			t.Errorf("a twin of n1: %q", reason)
		}
		if _, known := nodes[0].clusterMap().Drive(driveID(20)); known {
			t.Error("its drive is a member")
		}
		copied := w.start("n8", rpc.Storage, 0, []string{"m1:1"}, 2)
		time.Sleep(time.Second)
		var twice []placement.DriveID
		copied.get(func() { twice = copied.twice })
		if len(twice) != 1 || twice[0] != driveID(2) {
			t.Errorf("a copy of drive 2: %v", twice)
		}
	})
}

func TestOrdersSurviveTheCoordinator(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		metas, nodes := w.cluster(3)
		time.Sleep(5 * time.Second)
		o, err := metas[0].coord.SetOrders(func(o *Orders) { o.RepairLimit = 1 << 20 })
		if err != nil || o.Serial != 1 {
			t.Fatal(o, err)
		}
		time.Sleep(time.Second)
		metas[0].kill()
		w.group.lead(3)
		time.Sleep(5 * time.Second)
		if got := nodes[1].dir.Orders(); got != o {
			t.Errorf("n1 has %+v", got)
		}
		o, err = metas[2].coord.SetOrders(func(o *Orders) { o.ScrubSerial++ })
		if err != nil || o.Serial != 2 || o.RepairLimit != 1<<20 {
			t.Errorf("%+v, %v", o, err)
		}
	})
}

func TestRipe(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		metas, _ := w.cluster(3)
		g := w.start("g0", rpc.Gateway, 0, []string{"m1:1"})
		time.Sleep(5 * time.Second)
		ask := func() int64 {
			b := beatOf("x")
			b.Node.Incarnation, b.Table = 99, 1
			a, err := metas[0].coord.Beat(context.Background(), b)
			if err != nil {
				t.Fatal(err)
			}
			return time.Now().UnixMilli() - a.Ripe
		}
		if got := ask(); got != 30_000 {
			t.Errorf("without reads it is %d ms old", got)
		}
		b := beatOf("g0")
		b.Node = g.node
		b.OldestRead = time.Now().Add(-time.Minute).UnixMilli()
		g.stop()
		time.Sleep(time.Second)
		if _, err := metas[0].coord.Beat(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if got := ask(); got < (time.Minute + ripeSkew).Milliseconds() {
			t.Errorf("with a read of a minute it is %d ms old", got)
		}
	})
}

func TestIdleBeatsAreHeld(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		_, nodes := w.cluster(3)
		time.Sleep(10 * time.Second)
		var before, after int
		nodes[0].get(func() { before = nodes[0].answers })
		time.Sleep(10 * time.Second)
		nodes[0].get(func() { after = nodes[0].answers })
		if n := after - before; n < 18 || n > 22 {
			t.Errorf("%d beats in 10 s", n)
		}
	})
}
