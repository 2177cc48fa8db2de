package membership

import (
	"errors"
	"slices"
	"testing"

	"kintsugi/placement"
)

func ids(numbers ...int) []placement.DriveID {
	var all []placement.DriveID
	for _, n := range numbers {
		all = append(all, driveID(n))
	}
	return all
}

func TestSelect(t *testing.T) {
	m := mapOf(t, 2, 1, 4)
	for _, c := range []struct {
		name, target string
		want         []placement.DriveID
		err          error
	}{
		{"a node", "n2", ids(2), nil},
		{"a whole id", driveID(3).String(), ids(3), nil},
		{"the beginning of an id", driveID(3).String()[:6], ids(3), nil},
		{"too little of it", driveID(3).String()[:4], nil, ErrUnknownTarget},
		{"a stranger", "n9", nil, ErrUnknownTarget},
		{"nothing", "", nil, ErrUnknownTarget},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := Select(m, c.target); !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestDrainAndRemove(t *testing.T) {
	m := mapOf(t, 2, 1, 5)
	must := func(next *placement.Map, err error) *placement.Map {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	if _, err := Remove(m, ids(1), false); !errors.Is(err, ErrNotDrained) {
		t.Errorf("one that is needed is removed: %v", err)
	}
	draining := must(Drain(m, ids(1)))
	if again := must(Drain(draining, ids(1))); again != draining {
		t.Error("draining again made a new map")
	}
	if _, err := Remove(draining, ids(1), false); !errors.Is(err, ErrNotDrained) || Drained(draining, driveID(1)) {
		t.Errorf("one that still moves is removed: %v", err)
	}
	drained := draining.Complete(draining.Open())
	if !Drained(drained, driveID(1)) {
		t.Error("nothing needs it, yet it is not drained")
	}
	gone := must(Remove(drained, ids(1), false))
	if d, _ := gone.Drive(driveID(1)); !removed(d) {
		t.Errorf("after Remove it is %+v", d)
	}
	back := must(Undrain(gone, ids(1)))
	if d, _ := back.Drive(driveID(1)); !d.TakesShards() || len(back.SlotsOf(d.ID)) == 0 {
		t.Errorf("after Undrain it is %+v", d)
	}
	if _, err := Drain(m, ids(1, 2, 3)); !errors.Is(err, ErrTooFewDrives) {
		t.Errorf("two drives of 2+1 are left: %v", err)
	}
	if _, err := Drain(m, ids(77)); !errors.Is(err, ErrUnknownTarget) {
		t.Errorf("a stranger is drained: %v", err)
	}
}

func TestRemoveLost(t *testing.T) {
	m := mapOf(t, 2, 1, 6)
	if next, err := Remove(m, ids(1), true); err != nil || len(next.SlotsOf(driveID(1))) != 0 {
		t.Errorf("one of 2+1: %v", err)
	}
	if _, err := Remove(m, ids(1, 2), true); !errors.Is(err, ErrWouldLose) {
		t.Errorf("two of 2+1: %v", err)
	}
	out, err := m.With(placement.SetState{ID: driveID(2), State: placement.Out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Remove(out, ids(1, 2), true); !errors.Is(err, ErrWouldLose) {
		t.Errorf("one while the other is not rebuilt: %v", err)
	}
	if _, err := Remove(out.Complete(out.Open()), ids(1, 2), true); err != nil {
		t.Errorf("one after the other was rebuilt: %v", err)
	}
}

func TestWeigh(t *testing.T) {
	m := mapOf(t, 2, 1, 4)
	if next, err := Weigh(m, driveID(1), 50); err != nil || len(next.SlotsOf(driveID(1))) >= len(m.SlotsOf(driveID(1))) {
		t.Errorf("half the weight: %v", err)
	}
	if next, err := Weigh(m, driveID(1), DefaultWeight); err != nil || next != m {
		t.Errorf("the same weight made a new map: %v", err)
	}
	if _, err := Weigh(mapOf(t, 2, 1, 3), driveID(1), 0); !errors.Is(err, ErrTooFewDrives) {
		t.Errorf("no weight: %v", err)
	}
}

func TestEstimate(t *testing.T) {
	m := mapOf(t, 2, 1, 4)
	live := map[placement.DriveID]uint64{}
	for i := range 4 {
		live[driveID(i)] = uint64(1000 * len(m.SlotsOf(driveID(i))))
	}
	next, err := m.With(placement.AddDrive{Drive: placement.Drive{ID: driveID(9), Node: "n9", Weight: DefaultWeight}})
	if err != nil {
		t.Fatal(err)
	}
	got := Estimate(m, next, live)
	slots := len(next.SlotsOf(driveID(9)))
	if got.Slots != slots || got.Bound != slots || got.Bytes != uint64(slots)*1000 {
		t.Errorf("%+v, the new drive has %d slots", got, slots)
	}
	for _, d := range got.Drives {
		if d.Drive == driveID(9) && (d.SlotsIn != slots || d.Node != "n9" || d.BytesOut != 0) || d.Drive != driveID(9) && d.SlotsIn != 0 {
			t.Errorf("%+v", d)
		}
	}
	if none := Estimate(m, m, live); none.Slots != 0 || none.Drives != nil {
		t.Errorf("no change: %+v", none)
	}
}

func TestTransitions(t *testing.T) {
	m := mapOf(t, 2, 1, 5)
	out := func(m *placement.Map, n int) *placement.Map {
		next, err := m.With(placement.SetState{ID: driveID(n), State: placement.Out})
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	two := out(m, 1)
	open := two.Open()
	var tr transitions
	tr.setMap(two)
	tr.report([]Clean{{Epoch: 1, Partitions: open}, {Epoch: 99, Partitions: open}, {Epoch: 2, Partitions: []uint32{1 << 20}}})
	if got, _ := tr.complete(); len(got) != 0 {
		t.Errorf("reports under other maps count: %v", got)
	}
	tr.report([]Clean{{Epoch: 2, Partitions: open[:3]}})
	if got, all := tr.complete(); !slices.Equal(got, open[:3]) || all {
		t.Errorf("got %v, all %v", got, all)
	}
	three := two.Complete(open[:2])
	tr.setMap(three)
	tr.report([]Clean{{Epoch: 2, Partitions: open[3:]}})
	if got, all := tr.complete(); !slices.Equal(got, open[2:]) || !all {
		t.Errorf("reports under the same homes: %v, want %v", got, open[2:])
	}
	four := out(three, 2)
	tr.setMap(four)
	got, _ := tr.complete()
	for _, p := range got {
		if !slices.Equal(three.Homes(p), four.Homes(p)) {
			t.Errorf("partition %d moved on and counts as complete", p)
		}
	}
	tr.setMap(out(out(four, 3), 4))
	if got, _ := tr.complete(); len(got) != 0 {
		t.Errorf("after a map that was missed: %v", got)
	}
}
