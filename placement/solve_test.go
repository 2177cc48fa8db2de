package placement

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// loads counts the slots of each drive.
func loads(m *Map) map[DriveID]int {
	loads := map[DriveID]int{}
	for p := range uint32(m.Partitions) {
		for _, id := range m.Homes(p) {
			if !id.IsZero() {
				loads[id]++
			}
		}
	}
	return loads
}

// joined counts the homes of each partition that were none of its homes before,
// and bound is the least possible number of them, given how many slots each drive has now.
func joined(old, new *Map) (moved, bound int) {
	for p := range uint32(old.Partitions) {
		before := old.Homes(p)
		for _, id := range new.Homes(p) {
			if !id.IsZero() && !slices.Contains(before, id) {
				moved++
			}
		}
	}
	before := loads(old)
	for id, n := range loads(new) {
		bound += max(0, n-before[id])
	}
	return moved, bound
}

func imbalance(m *Map) float64 {
	most, sum := 0, 0
	counts := loads(m)
	for _, n := range counts {
		most = max(most, n)
		sum += n
	}
	return float64(most) * float64(len(counts)) / float64(sum)
}

// TestMinimalMovement expects that no slot moves that need not, and that the load is even.
func TestMinimalMovement(t *testing.T) {
	add := func(first, n int) (changes []Change) {
		for i := range n {
			changes = append(changes, AddDrive{Drive{ID: testID(first + i), Weight: 100}})
		}
		return changes
	}
	for _, c := range []struct {
		name    string
		k, m    int
		drives  []Drive
		changes []Change
	}{
		{"6 to 7", 4, 2, plain(6), add(6, 1)},
		{"7 to 6", 4, 2, plain(7), []Change{RemoveDrive{testID(3)}}},
		{"9 to 8", 4, 2, plain(9), []Change{SetState{testID(8), Out}}},
		{"6 to 12", 4, 2, plain(6), add(6, 6)},
		{"12 to 8", 4, 2, plain(12), []Change{RemoveDrive{testID(0)}, RemoveDrive{testID(5)}, RemoveDrive{testID(6)}, RemoveDrive{testID(11)}}},
		{"48 to 49", 4, 2, plain(48), add(48, 1)},
		{"mirror to three", 1, 1, plain(2), add(2, 1)},
		{"one swapped by add and remove", 4, 2, plain(8), append(add(8, 1), RemoveDrive{testID(1)})},
		{"more than needed drained", 2, 1, plain(20), []Change{SetState{testID(1), Draining}, SetState{testID(2), Draining}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := birth(t, 1024, c.k, c.m, c.drives)
			next := with(t, old, c.changes...)
			if moved, bound := joined(old, next); moved != bound {
				t.Errorf("moved %d slots, %d were needed", moved, bound)
			}
			if got := max(imbalance(old), imbalance(next)); got > 1.01 {
				t.Errorf("max/mean is %.4f", got)
			}
			for p := range uint32(1024) {
				for i, id := range next.Homes(p) {
					if j := slices.Index(old.Homes(p), id); j >= 0 && j != i {
						t.Fatalf("partition %d: a drive went from slot %d to %d", p, j, i)
					}
				}
			}
		})
	}
}

func TestWeights(t *testing.T) {
	drives := plain(9)
	for i := range drives {
		drives[i].Weight = []uint32{1000, 2000, 4000}[i%3]
	}
	m := birth(t, 1024, 4, 2, drives)
	// 4000 of 21000 times six slots is more than one per partition: those drives are in every one, the others share by weight.
	want := map[uint32]int{4000: 1024, 2000: 683, 1000: 341}
	for id, n := range loads(m) {
		d, _ := m.Drive(id)
		if w := want[d.Weight]; n < w-1 || n > w+1 {
			t.Errorf("weight %d: %d slots, want %d", d.Weight, n, w)
		}
	}
	grown := with(t, m, AddDrive{Drive{ID: testID(20), Weight: 1000}})
	if moved, bound := joined(m, grown); moved != bound {
		t.Errorf("moved %d slots, %d were needed", moved, bound)
	}
}

// TestSpread expects that no zone and no node holds more of a partition than it must.
func TestSpread(t *testing.T) {
	for _, c := range []struct {
		name             string
		k, m             int
		drives           []Drive
		perZone, perNode int
	}{
		{"three zones", 4, 2, grid(3, 3, 3), 2, 1},
		{"six nodes", 4, 2, grid(1, 6, 2), 6, 1},
		{"three nodes", 4, 2, grid(1, 3, 4), 6, 2},
		{"two zones of two nodes", 4, 2, grid(2, 2, 3), 3, 2},
		{"four zones", 4, 2, grid(4, 2, 1), 2, 1},
		{"uneven zones", 4, 2, append(grid(1, 10, 1), Drive{ID: testID(90), Zone: "z", Weight: 100}), 5, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := birth(t, 256, c.k, c.m, c.drives)
			checkSpread(t, m, c.perZone, c.perNode)
			next := with(t, m, SetState{c.drives[1].ID, Out})
			if _, bound := joined(m, next); bound == 0 {
				t.Error("nothing moved")
			}
		})
	}
}

func checkSpread(t *testing.T, m *Map, perZone, perNode int) {
	t.Helper()
	for p := range uint32(m.Partitions) {
		zones, nodes := map[string]int{}, map[nodeName]int{}
		for _, id := range m.Homes(p) {
			d, _ := m.Drive(id)
			zones[d.Zone]++
			nodes[d.nodeName()]++
			if zones[d.Zone] > perZone || nodes[d.nodeName()] > perNode {
				t.Fatalf("partition %d: zones %v, nodes %v", p, zones, nodes)
			}
		}
	}
}

// TestShardsAreSpread expects that every drive has data and parity slots alike, and
// that the partitions of a drive are shared with all others evenly.
func TestShardsAreSpread(t *testing.T) {
	m := birth(t, 1024, 4, 2, plain(12))
	slots := map[DriveID][6]int{}
	shared := map[DriveID]int{}
	for p := range uint32(1024) {
		homes := m.Homes(p)
		for i, id := range homes {
			counts := slots[id]
			counts[i]++
			slots[id] = counts
			if id != testID(0) && slices.Contains(homes, testID(0)) {
				shared[id]++
			}
		}
	}
	for id, counts := range slots {
		for i, n := range counts {
			if n < 75 || n > 96 { // 85.3 is even
				t.Errorf("drive %s has slot %d %d times", id, i, n)
			}
		}
	}
	for id, n := range shared {
		if n < 180 || n > 285 { // 232.7 is even
			t.Errorf("drive %s shares %d partitions with the first", id, n)
		}
	}
}

func TestDeterminism(t *testing.T) {
	drives := grid(2, 3, 3)
	a := birth(t, 512, 4, 2, drives)
	slices.Reverse(drives)
	b := birth(t, 512, 4, 2, drives)
	if !bytes.Equal(a.Ring, b.Ring) {
		t.Error("the order of the drives matters")
	}
	a, b = with(t, a, SetWeight{testID(3), 50}), with(t, b, SetWeight{testID(3), 50})
	if !bytes.Equal(a.Ring, b.Ring) || !bytes.Equal(a.Prior, b.Prior) {
		t.Error("the same change makes different rings")
	}
	same := with(t, a, SetWeight{testID(3), 50}, SetState{testID(1), Up})
	if !bytes.Equal(a.Ring, same.Ring) {
		t.Error("a change of nothing moves slots")
	}
}

// TestAnyHistory puts a map through random changes and checks what must always hold.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, parity := rapid.IntRange(1, 6).Draw(t, "k"), rapid.IntRange(0, 3).Draw(t, "m")
		drives := plain(rapid.IntRange(1, 14).Draw(t, "drives"))
		for i := range drives {
			drives[i].Weight = uint32(rapid.IntRange(1, 4).Draw(t, "weight"))
			drives[i].Zone = fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "zone"))
			drives[i].Node = fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "node"))
		}
		m, err := Birth(ClusterID{7}, 64, k, parity, drives)
		if err != nil {
			t.Fatal(err)
		}
		for step := range rapid.IntRange(1, 6).Draw(t, "steps") {
			next, err := m.With(drawChange(t, m, 100+step))
			if err != nil {
				return // the last drive may not go
			}
			checkMap(t, m, next)
			m = next
			if rapid.Bool().Draw(t, "complete") {
				m = m.Complete(m.Open())
			}
		}
	})
}

func drawChange(t *rapid.T, m *Map, fresh int) Change {
	some := m.Drives[rapid.IntRange(0, len(m.Drives)-1).Draw(t, "which")].ID
	added := Drive{ID: testID(fresh), Weight: uint32(rapid.IntRange(0, 4).Draw(t, "weight")), Zone: "0"}
	return rapid.SampledFrom([]Change{
		AddDrive{added}, ReplaceDrive{some, added}, RemoveDrive{some},
		SetState{some, State(rapid.IntRange(0, 2).Draw(t, "state"))}, SetWeight{some, added.Weight},
		MoveDrive{some, rapid.SampledFrom([]string{"0", "1", "9"}).Draw(t, "node"), "0"},
	}).Draw(t, "change")
}

func checkMap(t *rapid.T, old, next *Map) {
	if err := next.Validate(); err != nil {
		t.Fatal(err)
	}
	takers := 0
	for _, d := range next.Drives {
		if d.TakesShards() {
			takers++
		}
	}
	filled := min(takers, next.Slots())
	for p := range uint32(next.Partitions) {
		for i, id := range next.Homes(p) {
			d, member := next.Drive(id)
			if (i < filled) != member || member && !d.TakesShards() {
				t.Fatalf("partition %d, slot %d: %v, %d drives take shards", p, i, d, takers)
			}
		}
		previous := next.Previous(p)
		if old.Previous(p) == nil && slices.Equal(old.Homes(p), next.Homes(p)) && previous != nil {
			t.Fatalf("partition %d did not move and is in transition", p)
		}
		for _, id := range previous {
			if _, member := next.Drive(id); !id.IsZero() && !member {
				t.Fatalf("partition %d: previous home %s left", p, id)
			}
		}
		if len(next.Ranking(p)) != takers {
			t.Fatalf("partition %d: ranking of %d, %d drives take shards", p, len(next.Ranking(p)), takers)
		}
	}
}

func BenchmarkSolve(b *testing.B) {
	for _, c := range []struct {
		name       string
		partitions int
		k, m       int
		drives     []Drive
	}{
		{"6", 1024, 4, 2, plain(6)},
		{"48", 1024, 4, 2, grid(1, 8, 6)},
		{"100", 4096, 8, 4, grid(4, 25, 1)},
	} {
		b.Run(c.name+"/birth", func(b *testing.B) {
			for b.Loop() {
				birth(b, c.partitions, c.k, c.m, c.drives)
			}
		})
		b.Run(c.name+"/add", func(b *testing.B) {
			m := birth(b, c.partitions, c.k, c.m, c.drives)
			for b.Loop() {
				with(b, m, AddDrive{Drive{ID: testID(5000), Node: "new", Zone: "zone0", Weight: 100}})
			}
		})
		b.Run(c.name+"/remove", func(b *testing.B) {
			m := birth(b, c.partitions, c.k, c.m, c.drives)
			for b.Loop() {
				with(b, m, RemoveDrive{testID(1)})
			}
		})
	}
}
