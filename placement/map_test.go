package placement

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func testID(i int) DriveID {
	return DriveID{0xd0, byte(i >> 8), byte(i), 15: 1}
}

// plain returns drives 0..n-1 of equal weight on one node.
func plain(n int) []Drive {
	drives := make([]Drive, n)
	for i := range drives {
		drives[i] = Drive{ID: testID(i), Weight: 100}
	}
	return drives
}

// grid returns zones*nodes*drives drives of equal weight.
func grid(zones, nodes, drives int) []Drive {
	all := plain(zones * nodes * drives)
	for i := range all {
		all[i].Zone = fmt.Sprint("zone", i/(nodes*drives))
		all[i].Node = fmt.Sprint("node", i/drives%nodes)
	}
	return all
}

func birth(t testing.TB, partitions, k, m int, drives []Drive) *Map {
	t.Helper()
	born, err := Birth(ClusterID{1, 2, 3}, partitions, k, m, drives)
	if err != nil {
		t.Fatal(err)
	}
	if err := born.Validate(); err != nil {
		t.Fatal(err)
	}
	return born
}

func with(t testing.TB, m *Map, changes ...Change) *Map {
	t.Helper()
	next, err := m.With(changes...)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Validate(); err != nil {
		t.Fatal(err)
	}
	if next.Epoch != m.Epoch+1 {
		t.Fatalf("epoch %d after %d", next.Epoch, m.Epoch)
	}
	return next
}

func TestBirth(t *testing.T) {
	for _, c := range []struct {
		name   string
		k, m   int
		drives int
		vacant int // slots of each partition
	}{
		{"one drive", 1, 0, 1, 0},
		{"mirror", 1, 1, 2, 0},
		{"six", 4, 2, 6, 0},
		{"seven", 4, 2, 7, 0},
		{"too few", 4, 2, 4, 2},
		{"sixteen", 8, 4, 16, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := birth(t, 256, c.k, c.m, plain(c.drives))
			if m.Epoch != 1 || m.Open() != nil || m.Previous(3) != nil {
				t.Errorf("epoch %d, open %v", m.Epoch, m.Open())
			}
			for p := range uint32(256) {
				homes := m.Homes(p)
				if len(homes) != c.k+c.m {
					t.Fatalf("partition %d: %d slots", p, len(homes))
				}
				for i, id := range homes {
					if wantVacant := i >= c.k+c.m-c.vacant; id.IsZero() != wantVacant {
						t.Fatalf("partition %d: %v", p, homes)
					}
				}
			}
			if m.Homes(256) != nil || m.Previous(256) != nil {
				t.Error("partition 256 of 256 has homes")
			}
		})
	}
}

func TestBirthErrors(t *testing.T) {
	for _, c := range []struct {
		name             string
		partitions, k, m int
		drives           []Drive
		want             error
	}{
		{"no drives", 64, 1, 0, nil, ErrNoDrives},
		{"only drives that take nothing", 64, 1, 0, []Drive{{ID: testID(1), Weight: 1, State: Out}}, ErrNoDrives},
		{"no data shards", 64, 0, 1, plain(1), ErrInvalidMap},
		{"no partitions", 0, 1, 0, plain(1), ErrInvalidMap},
		{"too many slots", 64, 60, 60, plain(1), ErrInvalidMap},
		{"twice the same", 64, 1, 1, append(plain(1), plain(1)...), ErrDuplicateDrive},
		{"no id", 64, 1, 1, []Drive{{Weight: 1}}, ErrInvalidMap},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Birth(ClusterID{}, c.partitions, c.k, c.m, c.drives)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestReplaceGivesTheSlotsOfTheOld(t *testing.T) {
	m := birth(t, 128, 4, 2, plain(6))
	fresh := Drive{ID: testID(99), Weight: 7, Node: "other"}
	next := with(t, m, ReplaceDrive{testID(2), fresh})
	for p := range uint32(128) {
		want := slices.Clone(m.Homes(p))
		slot := slices.Index(want, testID(2))
		want[slot] = fresh.ID
		if got := next.Homes(p); !slices.Equal(got, want) {
			t.Fatalf("partition %d: %v, want %v", p, got, want)
		}
		want[slot] = DriveID{}
		if got := next.Previous(p); !slices.Equal(got, want) {
			t.Fatalf("partition %d: previous %v, want %v", p, got, want)
		}
	}
	if _, ok := next.Drive(testID(2)); ok {
		t.Error("the old drive is still a member")
	}
	for _, move := range Plan(m, next) {
		if move.To != fresh.ID || move.From != testID(2) {
			t.Fatalf("moves %+v", move)
		}
	}
	if got := len(next.SlotsOf(fresh.ID)); got != 128 || len(Plan(m, next)) != 128 {
		t.Errorf("the new drive has %d slots, %d moves", got, len(Plan(m, next)))
	}
}

func TestTransition(t *testing.T) {
	m := birth(t, 64, 2, 1, plain(4))
	grown := with(t, m, AddDrive{Drive{ID: testID(4), Weight: 100}})
	moved := map[uint32]bool{}
	for _, move := range Plan(m, grown) {
		moved[move.Partition] = true
	}
	if len(grown.Open()) != len(moved) || len(moved) == 0 {
		t.Fatalf("%d open, %d moved", len(grown.Open()), len(moved))
	}
	for p := range uint32(64) {
		previous := grown.Previous(p)
		if moved[p] && !slices.Equal(previous, m.Homes(p)) || !moved[p] && previous != nil {
			t.Fatalf("partition %d: previous %v", p, previous)
		}
	}
	drained := with(t, grown, SetState{testID(0), Draining})
	for _, p := range grown.Open() {
		if got := drained.Previous(p); !slices.Equal(got, m.Homes(p)) {
			t.Fatalf("partition %d: previous %v, want those before the first change, %v", p, got, m.Homes(p))
		}
	}
	half := drained.Open()[:len(drained.Open())/2]
	closed := drained.Complete(half)
	if closed.Epoch != drained.Epoch+1 || len(closed.Open()) != len(drained.Open())-len(half) {
		t.Errorf("epoch %d, %d open", closed.Epoch, len(closed.Open()))
	}
	if closed.Complete(half) != closed || closed.Complete([]uint32{1 << 20}) != closed {
		t.Error("closing what is closed made a new map")
	}
	all := closed.Complete(closed.Open())
	if all.Prior != nil || all.Open() != nil || !bytes.Equal(all.Ring, drained.Ring) {
		t.Error("the last close left something")
	}
}

// TestTransitionOfALostDrive expects that its slot stays vacant until the
// transition of the partition ends, whatever else happens.
func TestTransitionOfALostDrive(t *testing.T) {
	m := birth(t, 64, 4, 2, plain(6))
	m = with(t, m, ReplaceDrive{testID(1), Drive{ID: testID(11), Weight: 100}})
	m = m.Complete([]uint32{0})
	m = with(t, m, ReplaceDrive{testID(2), Drive{ID: testID(12), Weight: 100}})
	for p := range uint32(64) {
		for i, id := range m.Homes(p) {
			want := id
			if id == testID(12) || id == testID(11) && p != 0 {
				want = DriveID{}
			}
			if got := m.Previous(p)[i]; got != want {
				t.Fatalf("partition %d, slot %d: home %s, previous %s", p, i, id, got)
			}
		}
	}
}

func TestRemovedDriveLeavesNoTrace(t *testing.T) {
	m := birth(t, 64, 2, 1, plain(5))
	gone := with(t, m, RemoveDrive{testID(3)})
	for p := range uint32(64) {
		if slices.Contains(gone.Homes(p), testID(3)) || slices.Contains(gone.Previous(p), testID(3)) {
			t.Fatalf("partition %d still names it", p)
		}
	}
	if len(gone.Drives) != 4 {
		t.Errorf("%d drives", len(gone.Drives))
	}
}

func TestMoveDrive(t *testing.T) {
	m := birth(t, 64, 2, 1, grid(1, 4, 2))
	moved := with(t, m, MoveDrive{testID(0), "node3", "zone0"})
	if d, _ := moved.Drive(testID(0)); d.Node != "node3" || d.Zone != "zone0" || d.Weight != 100 {
		t.Errorf("it is %+v", d)
	}
	for p := range uint32(64) {
		used := map[string]bool{}
		for _, id := range moved.Homes(p) {
			d, _ := moved.Drive(id)
			if used[d.Node] {
				t.Fatalf("partition %d has two homes on %s", p, d.Node)
			}
			used[d.Node] = true
		}
	}
	renamed := with(t, m, MoveDrive{testID(0), "node0", "zone0"})
	if moves := Plan(m, renamed); len(moves) != 0 {
		t.Errorf("a drive that stays where it is: %d moves", len(moves))
	}
	drained := with(t, m, SetState{testID(0), Draining})
	if moves := Plan(drained, with(t, drained, MoveDrive{testID(0), "node3", ""})); len(moves) != 0 {
		t.Errorf("a drive without slots: %d moves", len(moves))
	}
}

func TestChangeErrors(t *testing.T) {
	m := birth(t, 64, 2, 1, plain(3))
	for _, c := range []struct {
		name   string
		change Change
		want   error
	}{
		{"add a member", AddDrive{Drive{ID: testID(0), Weight: 1}}, ErrDuplicateDrive},
		{"replace a stranger", ReplaceDrive{testID(9), Drive{ID: testID(8)}}, ErrUnknownDrive},
		{"replace by a member", ReplaceDrive{testID(0), Drive{ID: testID(1)}}, ErrDuplicateDrive},
		{"move a stranger", MoveDrive{testID(9), "n", ""}, ErrUnknownDrive},
		{"state of a stranger", SetState{testID(9), Out}, ErrUnknownDrive},
		{"no such state", SetState{testID(0), 9}, ErrInvalidMap},
		{"weight of a stranger", SetWeight{testID(9), 1}, ErrUnknownDrive},
		{"remove a stranger", RemoveDrive{testID(9)}, ErrUnknownDrive},
	} {
		t.Run(c.name, func(t *testing.T) {
			if next, err := m.With(c.change); !errors.Is(err, c.want) || next != nil {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if _, err := m.With(SetState{testID(0), Out}, SetState{testID(1), Out}, SetWeight{testID(2), 0}); !errors.Is(err, ErrNoDrives) {
		t.Errorf("nobody left: %v", err)
	}
}

func TestRanking(t *testing.T) {
	drives := append(grid(1, 5, 2), Drive{ID: testID(50), Weight: 0}, Drive{ID: testID(51), Weight: 1, State: Draining})
	m := birth(t, 256, 2, 2, drives)
	firstSubstitutes := map[DriveID]int{}
	for p := range uint32(256) {
		ranking := m.Ranking(p)
		if len(ranking) != 10 || !slices.Equal(ranking[:4], m.Homes(p)) {
			t.Fatalf("partition %d: %v", p, ranking)
		}
		used := map[string]bool{}
		for _, id := range ranking[:5] {
			d, _ := m.Drive(id)
			if used[d.Node] {
				t.Fatalf("partition %d: the first substitute shares a node with a home", p)
			}
			used[d.Node] = true
		}
		firstSubstitutes[ranking[4]]++
	}
	if len(firstSubstitutes) != 10 {
		t.Errorf("first substitutes are %d of 10 drives", len(firstSubstitutes))
	}
}

func TestRankingWithoutDeadHome(t *testing.T) {
	m := birth(t, 64, 4, 2, plain(6))
	short := with(t, m, SetState{testID(1), Out})
	for p := range uint32(64) {
		homes := short.Homes(p)
		if homes[4].IsZero() || !homes[5].IsZero() || len(short.Ranking(p)) != 5 {
			t.Fatalf("partition %d: homes %v, ranking %v", p, homes, short.Ranking(p))
		}
	}
}

func TestPartitionIsPinned(t *testing.T) {
	m := &Map{Partitions: 1024}
	blob := BlobID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	for chunk, want := range []uint32{839, 318, 689} {
		if got := m.Partition(blob, uint32(chunk)); got != want {
			t.Errorf("chunk %d: partition %d, want %d", chunk, got, want)
		}
	}
}

func TestPartitionIsEven(t *testing.T) {
	m := &Map{Partitions: 64}
	counts := make([]int, 64)
	for i := range 64_000 {
		counts[m.Partition(BlobID{5, byte(i), byte(i >> 8)}, uint32(i>>16))]++
	}
	for p, n := range counts {
		if n < 850 || n > 1150 {
			t.Errorf("partition %d: %d of about 1000", p, n)
		}
	}
}

func TestCBOR(t *testing.T) {
	m := with(t, birth(t, 1024, 4, 2, grid(1, 3, 3)), RemoveDrive{testID(4)})
	data, err := cbor.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 26_000 {
		t.Errorf("%d bytes", len(data))
	}
	var back Map
	if err := cbor.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if err := back.Validate(); err != nil {
		t.Fatal(err)
	}
	for p := range uint32(1024) {
		if !slices.Equal(back.Homes(p), m.Homes(p)) || !slices.Equal(back.Previous(p), m.Previous(p)) {
			t.Fatalf("partition %d differs", p)
		}
	}
}

// FuzzValidate feeds stored maps that nobody wrote: what Validate accepts must be usable.
func FuzzValidate(f *testing.F) {
	m, err := Birth(ClusterID{9}, 8, 2, 1, plain(4))
	if err != nil {
		f.Fatal(err)
	}
	data, _ := cbor.Marshal(m)
	f.Add(data)
	m, _ = m.With(RemoveDrive{testID(0)})
	data, _ = cbor.Marshal(m)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Map
		if cbor.Unmarshal(data, &m) != nil || m.Validate() != nil || m.Partitions > 1000 || len(m.Drives) > 100 {
			return
		}
		for p := range uint32(m.Partitions) {
			m.Ranking(p)
			m.Previous(p)
		}
		if next, err := m.With(SetState{m.Drives[0].ID, Out}); err == nil && next.Validate() != nil && m.Epoch+1 != 0 {
			t.Error("a valid map became an invalid one")
		}
	})
}

func BenchmarkPartition(b *testing.B) {
	m := &Map{Partitions: 1024}
	b.ReportAllocs()
	for b.Loop() {
		m.Partition(BlobID{1}, 7)
	}
}

func BenchmarkHomes(b *testing.B) {
	m := birth(b, 1024, 4, 2, plain(6))
	b.ReportAllocs()
	for b.Loop() {
		m.Homes(77)
	}
}
