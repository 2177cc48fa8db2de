package membership

import (
	"slices"
	"testing"
	"time"

	"kintsugi/internal/rpc"
)

// TestColdStart starts all metadata nodes while nobody leads: they must find each other to elect someone.
func TestColdStart(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		seeds := []string{"m1:1", "m2:1"}
		var metas []*proc
		for i, name := range []string{"m1", "m2", "m3"} { // m3 came later than the list
			metas = append(metas, w.start(name, rpc.Meta, uint64(i+1), seeds))
		}
		g := w.start("g0", rpc.Gateway, 0, seeds)
		time.Sleep(8 * time.Second)
		for _, p := range metas[1:] {
			if addr, ok := p.dir.AddrOf(1); !ok || addr != "m1:1" {
				t.Errorf("%s finds host 1 at %q", p.node.Name, addr)
			}
		}
		if got := g.dir.Hosts(); len(got) < 2 {
			t.Errorf("the gateway knows the hosts %v", got)
		}
		if g.mayWrite() {
			t.Error("without a coordinator somebody may write")
		}
		w.group.lead(3)
		time.Sleep(2 * time.Second)
		if got := metas[0].dir.Leader(); got != "m3:1" {
			t.Errorf("m1 follows %q", got)
		}
	})
}

// TestSeedsAreGone starts a process again whose seeds are no more: it looks for the nodes that it kept.
func TestSeedsAreGone(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		metas, nodes := w.cluster(4)
		spare := w.start("m4", rpc.Meta, 4, []string{"m1:1"})
		time.Sleep(5 * time.Second)
		var kept []Node
		nodes[0].get(func() { kept = nodes[0].kept })
		if !slices.ContainsFunc(kept, func(n Node) bool { return n.Addr == "m4:1" }) || len(kept) != 4 {
			t.Fatalf("n0 kept %+v", kept)
		}
		nodes[0].stop()
		for _, p := range metas {
			p.kill()
		}
		w.group.lead(4)
		again := w.startKnowing(kept, "n0", rpc.Storage, 0, []string{"m1:1"}, 0)
		time.Sleep(2 * time.Second)
		if !again.mayWrite() || again.dir.Leader() != spare.node.Addr {
			t.Errorf("n0 follows %q, may write: %v", again.dir.Leader(), again.mayWrite())
		}
	})
}

func TestReportsAreKeptUntilHeard(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		_, nodes := w.cluster(6)
		time.Sleep(5 * time.Second)
		nodes[5].kill()
		time.Sleep(6 * time.Second)
		m := nodes[0].clusterMap()
		if len(m.Open()) == 0 {
			t.Fatal("nothing moves")
		}
		nodes[0].frozen.Store(true)
		time.Sleep(100 * time.Millisecond)
		nodes[0].get(func() { nodes[0].clean = []Clean{{Epoch: m.Epoch, Partitions: m.Open()}} })
		time.Sleep(time.Second) // its beats are lost
		nodes[0].frozen.Store(false)
		time.Sleep(4 * time.Second)
		if got := nodes[1].clusterMap().Open(); len(got) != 0 {
			t.Errorf("%d still move", len(got))
		}
	})
}

func TestMergeClean(t *testing.T) {
	got := mergeClean(nil, []Clean{{1, []uint32{3, 1}}, {2, []uint32{5}}, {1, []uint32{1, 2}}})
	if len(got) != 2 || !slices.Equal(got[0].Partitions, []uint32{1, 2, 3}) || !slices.Equal(got[1].Partitions, []uint32{5}) {
		t.Errorf("%v", got)
	}
	for epoch := range uint64(200) {
		got = mergeClean(got, []Clean{{epoch + 3, []uint32{1}}})
	}
	if len(got) > 64 || got[len(got)-1].Epoch != 202 {
		t.Errorf("%d epochs, the last %d", len(got), got[len(got)-1].Epoch)
	}
}
