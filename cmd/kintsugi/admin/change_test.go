package admin

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"kintsugi/placement"
)

func TestChange(t *testing.T) {
	for _, c := range []struct {
		name    string
		storage int
		before  func(*testing.T, *Facts)
		change  Change
		refused string // "": it is made
	}{
		{"drain a node", 9, nil, Change{Kind: Drain, Target: "n3"}, ""},
		{"drain a drive by its id", 9, nil, Change{Kind: Drain, Target: testDrive(3).String()[:8]}, ""},
		{"drain a drive by its directory", 9, nil, Change{Kind: Drain, Target: "n3:/disk1"}, ""},
		{"drain where too few would be left", 6, nil, Change{Kind: Drain, Target: "n3"}, "add drives first"},
		{"drain twice", 9, made(Change{Kind: Drain, Target: "n3"}), Change{Kind: Drain, Target: "n3"}, "n3 is draining"},
		{"drain nobody", 9, nil, Change{Kind: Drain, Target: "n77"}, "kintsugi admin nodes"},
		{"drain a node without drives", 9, nil, Change{Kind: Drain, Target: "m1"}, "simply stopped"},
		{"undrain", 9, made(Change{Kind: Drain, Target: "n3"}), Change{Kind: Undrain, Target: "n3"}, ""},
		{"undrain what is up", 9, nil, Change{Kind: Undrain, Target: "n3"}, "n3 is up"},
		{"remove what is not drained", 9, nil, Change{Kind: Remove, Target: "n3"}, "kintsugi admin drain n3"},
		{"remove what is draining", 9, made(Change{Kind: Drain, Target: "n3"}), Change{Kind: Remove, Target: "n3"}, "wait until that is done"},
		{"remove what is drained", 9, drained, Change{Kind: Remove, Target: "n3"}, ""},
		{"remove what is there as lost", 9, nil, Change{Kind: Remove, Target: "n3", ForceLost: true}, "is there"},
		{"remove what is lost", 9, func(_ *testing.T, f *Facts) { f.kill("n3") }, Change{Kind: Remove, Target: "n3", ForceLost: true}, ""},
		{"remove twice", 9, func(t *testing.T, f *Facts) { drained(t, f); f.change(t, Change{Kind: Remove, Target: "n3"}) },
			Change{Kind: Remove, Target: "n3"}, "n3 is removed"},
		{"take back", 9, func(t *testing.T, f *Facts) { drained(t, f); f.change(t, Change{Kind: Remove, Target: "n3"}) },
			Change{Kind: Undrain, Target: "n3"}, ""},
		{"weight", 9, nil, Change{Kind: Weight, Target: "n3", Weight: weight(50)}, ""},
		{"weight as before", 9, nil, Change{Kind: Weight, Target: "n3", Weight: weight(100)}, "nothing to change"},
		{"weight of nothing", 9, nil, Change{Kind: Weight, Target: "n3", Weight: weight(0)}, "drain"},
		{"add a node", 6, nil, Change{Kind: AddNode, Drives: 2}, ""},
		{"add a node that is there", 6, nil, Change{Kind: AddNode, Target: "n3", Drives: 2}, "already"},
		{"add no drives", 6, nil, Change{Kind: AddNode}, "--drives"},
		{"no map yet", 6, func(_ *testing.T, f *Facts) { f.Map = nil }, Change{Kind: Drain, Target: "n3"}, "no cluster map"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := testFacts(t, c.storage)
			if c.before != nil {
				c.before(t, f)
			}
			next, err := c.change.Next(f)
			if c.refused != "" {
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("got %v, want a refusal with %q", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkPlan(t, f, c.change, next)
		})
	}
}

func made(c Change) func(*testing.T, *Facts) {
	return func(t *testing.T, f *Facts) { f.change(t, c) }
}

func drained(t *testing.T, f *Facts) {
	f.change(t, Change{Kind: Drain, Target: "n3"})
	f.settle()
}

// checkPlan holds a plan against the map that the change makes.
func checkPlan(t *testing.T, f *Facts, c Change, next *placement.Map) {
	t.Helper()
	plan := MakePlan(f, c, next)
	again, err := c.Next(f)
	if err != nil {
		t.Fatal(err)
	}
	if ringHash(again) != plan.Ring || !reflect.DeepEqual(MakePlan(f, c, again), plan) {
		t.Error("the change is not what the plan was")
	}
	moves := 0
	for _, m := range placement.Plan(f.Map, next) {
		if !m.To.IsZero() {
			moves++
		}
	}
	if plan.Moves != moves || plan.Moves != plan.LowerBound {
		t.Errorf("plan says %d moves, bound %d; the map moves %d", plan.Moves, plan.LowerBound, moves)
	}
	in, out := uint64(0), 0
	for _, d := range plan.Drives {
		if d.After != d.Before+d.In-d.Out {
			t.Errorf("drive %s: %d slots and %d in and %d out give %d", d.ID, d.Before, d.In, d.Out, d.After)
		}
		in += d.BytesIn
		out += d.Out
	}
	if in != plan.Bytes || out != moves {
		t.Errorf("drives get %d bytes and give %d slots; the plan says %d and %d", in, out, plan.Bytes, moves)
	}
}

func TestNodesThatMayDie(t *testing.T) {
	for storage, want := range map[int]int{6: 2, 9: 2} {
		if got := nodesThatMayDie(testFacts(t, storage).Map); got != want {
			t.Errorf("%d nodes: got %d, want %d", storage, got, want)
		}
	}
	var drives []placement.Drive
	for i := range 6 {
		drives = append(drives, placement.Drive{ID: testDrive(i + 1), Node: []string{"a", "b", "c"}[i%3], Weight: 1})
	}
	m, err := placement.Birth(placement.ClusterID{1}, 64, 4, 2, drives)
	if err != nil {
		t.Fatal(err)
	}
	if got := nodesThatMayDie(m); got != 1 {
		t.Errorf("three nodes of two drives: got %d, want 1", got)
	}
}
