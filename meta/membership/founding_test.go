package membership

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kintsugi/internal/rpc"
	"kintsugi/placement"
)

// seedHello returns the hello of seed i of a list, which knows no cluster.
func seedHello(i int, seeds ...string) Hello {
	return Hello{
		Format: Format, Seeds: seeds,
		Node: Node{Name: fmt.Sprint("m", i), Incarnation: uint64(100 + i), Addr: seeds[i], Roles: rpc.Meta, Host: uint64(i + 1)},
	}
}

func TestFound(t *testing.T) {
	seeds := []string{"a:1", "b:1", "c:1"}
	old := &Founding{Format: Format, Cluster: placement.ClusterID{7}, Partitions: 1024, Groups: 8, K: 4, M: 2, Voters: []uint64{1}}
	other := &Founding{Format: Format, Cluster: placement.ClusterID{8}, Partitions: 1024, Groups: 8, Voters: []uint64{2}}
	type edit func(h map[string]*Hello)
	cases := []struct {
		name   string
		self   string
		edit   edit
		want   string // part of Wait, "founds", "adopts" or of the error
		voters []uint64
	}{
		{"the lowest founds", "a:1", nil, "founds", []uint64{1, 2, 3}},
		{"the others wait for it", "b:1", nil, "for a:1", nil},
		{"one is silent", "a:1", func(h map[string]*Hello) { delete(h, "c:1") }, "for c:1", nil},
		{"another list", "a:1", func(h map[string]*Hello) { h["b:1"].Seeds = seeds[:2] }, "was started with --join a:1,b:1", nil},
		{"the same list in another order", "a:1", func(h map[string]*Hello) { h["b:1"].Seeds = []string{"c:1", "a:1", "b:1", "a:1"} }, "founds", []uint64{1, 2, 3}},
		{"a seed without metadata", "a:1", func(h map[string]*Hello) { h["b:1"].Node.Roles = rpc.Gateway }, "keeps no metadata", nil},
		{"one belongs to a cluster", "a:1", func(h map[string]*Hello) { h["b:1"].Founding = old }, "adopts", nil},
		{"two clusters", "a:1", func(h map[string]*Hello) { h["b:1"].Founding, h["c:1"].Founding = old, other }, ErrTwoClusters.Error(), nil},
		{"codes differ", "a:1", func(h map[string]*Hello) { h["b:1"].K, h["c:1"].K = 2, 3 }, "m1 2+0, m2 3+0", nil},
		{"one has a code", "a:1", func(h map[string]*Hello) { h["b:1"].K, h["b:1"].M = 4, 2 }, "founds", []uint64{1, 2, 3}},
		{"a code that bears no loss", "a:1", func(h map[string]*Hello) { h["b:1"].K, h["b:1"].M = 4, 0 }, "founds", []uint64{1}},
		{"the code contradicts the cluster", "a:1", func(h map[string]*Hello) { h["a:1"].K, h["a:1"].M, h["b:1"].Founding = 6, 3, old }, "m0 was given 6+3", nil},
		{"two addresses of one", "a:1", func(h map[string]*Hello) { h["b:1"].Node = h["a:1"].Node }, "founds", []uint64{1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			hellos := map[string]*Hello{}
			for i, s := range seeds {
				h := seedHello(i, seeds...)
				hellos[s] = &h
			}
			if c.edit != nil {
				c.edit(hellos)
			}
			answers := map[string]Hello{}
			for a, h := range hellos {
				answers[a] = *h
			}
			v, err := Found(answers[c.self], answers, placement.ClusterID{1})
			got := v.Wait
			switch {
			case err != nil:
				got = err.Error()
			case v.New:
				got = "founds"
				if !slices.Equal(v.Founding.Voters, c.voters) || v.Founding.check() != nil {
					t.Errorf("founding %+v", v.Founding)
				}
			case v.Founding != nil:
				got = "adopts"
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestFoundBesideTheList(t *testing.T) {
	self := Hello{Format: Format, Seeds: []string{"a:1"}, Node: Node{Name: "x", Incarnation: 9, Addr: "x:1", Roles: rpc.Storage}}
	v, err := Found(self, map[string]Hello{"a:1": seedHello(0, "a:1")}, placement.ClusterID{1})
	if err != nil || v.Founding != nil || !strings.Contains(v.Wait, "not in --join") {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestFirstVoters(t *testing.T) {
	for _, c := range []struct{ n, k, m, want int }{
		{1, 4, 2, 1}, {2, 4, 2, 1}, {3, 4, 2, 3}, {4, 0, 0, 3}, {5, 4, 2, 5}, {9, 0, 0, 5}, {9, 2, 1, 3}, {9, 1, 0, 1},
	} {
		if got := firstVoters(c.n, c.k, c.m); got != c.want {
			t.Errorf("%d seeds, %d+%d: %d, want %d", c.n, c.k, c.m, got, c.want)
		}
	}
}

func TestManyDrivesHaveManyPartitions(t *testing.T) {
	h := seedHello(0, "a:1")
	h.Drives = manyDrives + 1
	v, err := Found(h, map[string]Hello{"a:1": h}, placement.ClusterID{1})
	if err != nil || v.Founding.Partitions != manyPartitions {
		t.Errorf("%+v, %v", v.Founding, err)
	}
}

// TestNeverTwoClusters lets seeds hear each other in any order, with answers that are as old as may be, and crash at any
// moment, also between deciding and keeping what was decided.
func TestNeverTwoClusters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "seeds")
		var seeds []string
		for i := range n {
			seeds = append(seeds, fmt.Sprint("s", i))
		}
		type process struct {
			kept    *Founding // durable, as is the id of the host
			hello   Hello
			answers map[string]Hello
			begun   int
		}
		all := make([]*process, n)
		start := func(i int) {
			p := all[i]
			p.begun++
			p.hello = seedHello(i, seeds...)
			p.hello.Node.Incarnation = uint64(i*1000 + p.begun)
			p.hello.Founding = p.kept
			p.answers = map[string]Hello{}
		}
		ids := byte(0)
		for i := range n {
			all[i] = &process{}
			start(i)
		}
		decide := func(i int, crash bool) {
			p := all[i]
			ids++
			v, err := Found(p.hello, p.answers, placement.ClusterID{ids})
			if err != nil {
				t.Fatal(err)
			}
			if v.Founding == nil || crash {
				return
			}
			p.kept = v.Founding
			p.hello.Founding = v.Founding
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, n-1).Draw(t, "who")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				start(i) // crashed
			case 1:
				decide(i, true)
				start(i)
			case 2, 3:
				decide(i, false)
			case 4:
				decide(i, false)
				start(i) // kept, told nobody
			default:
				j := rapid.IntRange(0, n-1).Draw(t, "whom")
				all[i].answers[seeds[j]] = all[j].hello
			}
			oneCluster(t, func(yield func(*Founding) bool) {
				for _, p := range all {
					if p.kept != nil && !yield(p.kept) {
						return
					}
				}
			})
		}
		for range 2 { // it heals
			for i := range n {
				for j := range n {
					all[i].answers[seeds[j]] = all[j].hello
				}
				decide(i, false)
			}
		}
		for i, p := range all {
			if p.kept == nil {
				t.Fatalf("seed %d is left out", i)
			}
		}
	})
}

func oneCluster(t *rapid.T, foundings func(func(*Founding) bool)) {
	var first *Founding
	for f := range foundings {
		if first == nil {
			first = f
		}
		if f.Cluster != first.Cluster || !slices.Equal(f.Voters, first.Voters) {
			t.Fatalf("two clusters: %+v, %+v", first, f)
		}
	}
}

func TestErrorsNameWhatToDo(t *testing.T) {
	a, b := seedHello(0, "a:1", "b:1"), seedHello(1, "a:1", "b:1")
	a.K, b.K = 1, 2
	_, err := Found(a, map[string]Hello{"a:1": a, "b:1": b}, placement.ClusterID{1})
	if !errors.Is(err, ErrOtherCode) {
		t.Error(err)
	}
}
