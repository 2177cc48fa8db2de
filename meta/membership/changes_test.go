package membership

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kintsugi/placement"
)

// describe spells changes out, drives by their numbers.
func describe(changes []placement.Change) string {
	var words []string
	for _, c := range changes {
		switch c := c.(type) {
		case placement.AddDrive:
			words = append(words, fmt.Sprintf("%d added at %s", number(c.Drive.ID), c.Drive.Node))
		case placement.RemoveDrive:
			words = append(words, fmt.Sprintf("%d removed", number(c.ID)))
		case placement.ReplaceDrive:
			words = append(words, fmt.Sprintf("%d replaced by %d", number(c.Old), number(c.New.ID)))
		case placement.SetState:
			words = append(words, fmt.Sprintf("%d %s", number(c.ID), c.State))
		case placement.MoveDrive:
			words = append(words, fmt.Sprintf("%d moved to %s", number(c.ID), c.Node))
		}
	}
	return strings.Join(words, ", ")
}

func number(id placement.DriveID) int { return int(id[1])<<8 | int(id[2]) }

// run lets the nodes beat for d, in steps of 500 ms.
func (s *story) run(d time.Duration, beats ...*Beat) {
	for range d / (500 * time.Millisecond) {
		for _, b := range beats {
			s.beat(b)
		}
		s.pass(500 * time.Millisecond)
	}
}

// nodes returns the beats of n0 ... with a drive each, without some.
func nodes(n int, without ...int) []*Beat {
	var beats []*Beat
	for i := range n {
		if !slices.Contains(without, i) {
			beats = append(beats, beatOf(fmt.Sprint("n", i), i))
		}
	}
	return beats
}

func TestNextChanges(t *testing.T) {
	policy := Policy{OutAfter: 10 * time.Second}
	with := func(m *placement.Map, changes ...placement.Change) *placement.Map {
		next, err := m.With(changes...)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	out := func(n int) placement.Change { return placement.SetState{ID: driveID(n), State: placement.Out} }
	weightless := func(n int) placement.Change { return placement.SetWeight{ID: driveID(n)} }
	draining := func(n int) placement.Change {
		return placement.SetState{ID: driveID(n), State: placement.Draining}
	}
	base := mapOf(t, 4, 2, 9)
	zoned := beatOf("n3", 3)
	zoned.Node.Zone = "east"
	cases := []struct {
		name string
		m    *placement.Map
		tell func(s *story)
		want string
	}{
		{"nothing happened", base, func(s *story) { s.run(time.Minute, nodes(9)...) }, ""},
		{"a node is just gone", base, func(s *story) { s.run(5*time.Second, nodes(9)...); s.run(5*time.Second, nodes(9, 4)...) }, ""},
		{"a node stays away", base, func(s *story) { s.run(5*time.Second, nodes(9)...); s.run(12*time.Second, nodes(9, 4)...) }, "4 out"},
		{"no redundancy is left", base, func(s *story) { s.run(5*time.Second, nodes(9)...); s.run(4*time.Second, nodes(9, 4, 5)...) }, "4 out, 5 out"},
		{"but they may still write", base, func(s *story) { s.run(5*time.Second, nodes(9)...); s.run(3*time.Second, nodes(9, 4, 5)...) }, ""},
		{"and were never seen", base, func(s *story) { s.run(9*time.Second, nodes(9, 4, 5)...) }, ""},
		{"two that go one after the other go together", base, func(s *story) {
			s.run(5*time.Second, nodes(9)...)
			s.run(500*time.Millisecond, nodes(9, 4)...)
			s.run(4*time.Second-500*time.Millisecond, nodes(9, 4, 5)...)
		}, "4 out, 5 out"},
		{"their shards have nowhere to go", mapOf(t, 4, 2, 6), func(s *story) { s.run(5*time.Second, nodes(6)...); s.run(time.Minute, nodes(6, 4)...) }, ""},
		{"the last place is kept", mapOf(t, 4, 2, 7), func(s *story) { s.run(5*time.Second, nodes(7)...); s.run(time.Minute, nodes(7, 4, 5)...) }, ""},
		{"one that was given up is back", with(base, out(4)), func(s *story) { s.run(time.Second, nodes(9)...) }, "4 up"},
		{"after a moment of quiet", with(base, out(4)), func(s *story) { s.run(time.Second, nodes(9, 4)...); s.beat(beatOf("n4", 4)) }, ""},
		{"one that was removed is back", with(base, out(4), weightless(4)), func(s *story) { s.run(time.Minute, nodes(9)...) }, ""},
		{"one that is drained stays away", with(base, draining(4)), func(s *story) { s.run(5*time.Second, nodes(9)...); s.run(time.Minute, nodes(9, 4)...) }, ""},
		{"new nodes", base, func(s *story) { s.run(time.Second, append(nodes(9), beatOf("n10", 20), beatOf("n11", 21))...) }, "20 added at n10, 21 added at n11"},
		{"a new drive where none is lost", base, func(s *story) { s.run(3*time.Second, append(nodes(9, 4), beatOf("n4", 4, 20))...) }, "20 added at n4"},
		{"in place of a lost one", base, func(s *story) {
			s.run(3*time.Second, nodes(9)...)
			s.run(time.Second, append(nodes(9, 4), beatOf("n4", 20))...)
		}, "4 replaced by 20"},
		{"in place of a lost one after a restart", base, func(s *story) {
			s.run(3*time.Second, nodes(9)...)
			s.run(time.Second, append(nodes(9, 4), beatOf("n4@", 20))...)
		}, ""},
		{"and then", base, func(s *story) {
			s.run(3*time.Second, nodes(9)...)
			s.run(2*time.Second, append(nodes(9, 4), beatOf("n4@", 20))...)
		}, "4 replaced by 20"},
		{"in place of one that was given up", with(base, out(4)), func(s *story) { s.run(3*time.Second, append(nodes(9, 4), beatOf("n4", 20))...) }, "4 removed, 20 added at n4"},
		{"beside one that was removed", with(base, out(4), weightless(4)), func(s *story) { s.run(3*time.Second, append(nodes(9, 4), beatOf("n4", 20))...) }, "20 added at n4"},
		{"in place of one that is drained", with(base, draining(4)), func(s *story) { s.run(3*time.Second, append(nodes(9, 4), beatOf("n4", 20))...) }, "4 replaced by 20"},
		{"a drive is found elsewhere", base, func(s *story) { s.run(3*time.Second, append(nodes(9, 4), beatOf("n4"), beatOf("n12", 4))...) }, "4 moved to n12"},
		{"and has a successor", base, func(s *story) {
			s.run(3*time.Second, append(nodes(9, 4), beatOf("n4", 20), beatOf("n12", 4))...)
		}, "4 moved to n12, 20 added at n4"},
		{"a node is in another zone", base, func(s *story) { s.run(time.Second, append(nodes(9, 3), zoned)...) }, "3 moved to n3"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newStory(t, c.m)
			c.tell(s)
			changes := NextChanges(c.m, s.table, s.now, policy)
			if got := describe(changes); got != c.want {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			if len(changes) == 0 {
				return
			}
			next, err := c.m.With(changes...)
			if err != nil {
				t.Fatalf("the map refuses them: %v", err)
			}
			s.table.SetMap(s.now, next)
			if again := NextChanges(next, s.table, s.now, policy); len(again) > 0 {
				t.Errorf("and then %s", describe(again))
			}
		})
	}
}

// TestFlapping expects that patience grows with a drive that comes and goes, and that it is forgotten.
func TestFlapping(t *testing.T) {
	policy := Policy{OutAfter: 10 * time.Second}
	m := mapOf(t, 4, 2, 9)
	s := newStory(t, m)
	turn := func(d time.Duration, beats []*Beat) (changes string) {
		for range d / time.Second {
			s.run(time.Second, beats...)
			if c := NextChanges(m, s.table, s.now, policy); len(c) > 0 {
				changes += describe(c) + " "
				m, _ = m.With(c...)
				s.table.SetMap(s.now, m)
			}
		}
		return changes
	}
	turn(5*time.Second, nodes(9))
	for i, want := range []string{"4 out 4 up ", "4 out 4 up ", "", "", ""} { // 10 s, 20 s, then 40 s of patience
		if got := turn(30*time.Second, nodes(9, 4)) + turn(30*time.Second, nodes(9)); got != want {
			t.Fatalf("turn %d: %q, want %q", i, got, want)
		}
	}
	turn(300*time.Second, nodes(9))
	if got := turn(30*time.Second, nodes(9, 4)); got != "4 out " {
		t.Errorf("after a calm time: %q", got)
	}
}

// TestChangesAreSafe lets nodes and drives come, go and change places at random.
func TestChangesAreSafe(t *testing.T) {
	first := mapOf(t, 2, 1, 6)
	rapid.Check(t, func(t *rapid.T) {
		m := first
		now := time.Unix(1_000_000, 0)
		table := NewTable(now, testTiming, m, nil, 0)
		policy := Policy{OutAfter: 6 * time.Second}
		at := map[int]int{} // drive -> node
		for i := range 6 {
			at[i] = i
		}
		stopped := map[int]bool{}
		next := 6
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				n := rapid.IntRange(0, 5).Draw(t, "node")
				stopped[n] = !stopped[n]
			case 1: // a drive moves, or is replaced by a new one
				d := rapid.IntRange(0, next-1).Draw(t, "drive")
				at[d] = rapid.IntRange(-1, 5).Draw(t, "to")
			case 2:
				if next < 20 {
					at[next] = rapid.IntRange(0, 5).Draw(t, "to")
					next++
				}
			}
			for range rapid.IntRange(1, 12).Draw(t, "time") {
				now = now.Add(500 * time.Millisecond)
				for n := range 6 {
					if stopped[n] {
						continue
					}
					b := beatOf(fmt.Sprint("n", n))
					for d := range next {
						if at[d] == n {
							b.Drives = append(b.Drives, DriveReport{ID: driveID(d)})
						}
					}
					table.Beat(now, b)
				}
				table.Tick(now)
				changes := NextChanges(m, table, now, policy)
				if len(changes) == 0 {
					continue
				}
				m = checkedChange(t, m, table, changes)
				table.SetMap(now, m)
				if again := NextChanges(m, table, now, policy); len(again) > 0 {
					t.Fatalf("%s, and again %s", describe(changes), describe(again))
				}
			}
		}
	})
}

// checkedChange applies changes and expects that they leave drives enough for every shard, if there were enough.
func checkedChange(t *rapid.T, m *placement.Map, table *Table, changes []placement.Change) *placement.Map {
	next, err := m.With(changes...)
	if err != nil {
		t.Fatalf("%s: %v", describe(changes), err)
	}
	takers := 0
	for _, d := range next.Drives {
		if d.TakesShards() {
			takers++
		}
		was, known := m.Drive(d.ID)
		if known && was.State == placement.Up && d.State == placement.Out && table.Present(d.ID) {
			t.Fatalf("drive %d is there and was given up", number(d.ID))
		}
	}
	if takers < m.Slots() {
		t.Fatalf("%s leaves %d drives", describe(changes), takers)
	}
	return next
}

func TestFirstMap(t *testing.T) {
	code := func(drives int) (int, int) { return drives - 1, 1 }
	meta := func(name string, host uint64, drives ...int) *Beat {
		b := beatOf(name, drives...)
		b.Node.Host = host
		return b
	}
	chosen := Founding{Cluster: placement.ClusterID{1}, Partitions: 64, K: 2, M: 1, Seeds: 3}
	byNumber := Founding{Cluster: placement.ClusterID{1}, Partitions: 64, Seeds: 3}
	cases := []struct {
		name string
		f    Founding
		tell func(s *story)
		want string
	}{
		{"nobody", chosen, func(s *story) { s.run(time.Minute) }, ""},
		{"too few drives", chosen, func(s *story) { s.run(time.Minute, nodes(2)...) }, ""},
		{"enough, but more may come", chosen, func(s *story) { s.run(time.Second, nodes(3)...) }, ""},
		{"enough and quiet", chosen, func(s *story) { s.run(3*time.Second, nodes(5)...) }, "2+1 on 5"},
		{"one went meanwhile", chosen, func(s *story) { s.run(time.Second, nodes(4)...); s.run(4*time.Second, nodes(3)...) }, "2+1 on 3"},
		{"a seed is missing", byNumber, func(s *story) { s.run(time.Minute, meta("m1", 1), meta("m2", 2), beatOf("n1", 1, 2, 3)) }, ""},
		{"all seeds", byNumber, func(s *story) { s.run(3*time.Second, meta("m1", 1, 1, 2), meta("m2", 2, 3), meta("m3", 3, 4)) }, "3+1 on 4"},
		{"all seeds and no drive", byNumber, func(s *story) { s.run(time.Minute, meta("m1", 1), meta("m2", 2), meta("m3", 3)) }, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newStory(t, nil)
			c.tell(s)
			got := ""
			if birth, ok := FirstMap(c.f, s.table, s.now, 2*time.Second, code); ok {
				m, err := birth.Map()
				if err != nil {
					t.Fatal(err)
				}
				got = fmt.Sprintf("%d+%d on %d", m.K, m.M, len(m.Drives))
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
