package membership

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/placement"
)

func driveID(n int) placement.DriveID { return placement.DriveID{0xd0, byte(n >> 8), byte(n), 15: 1} }

// beatOf returns the beat of a node with drives. "n1@b" is n1 at address b, in its second incarnation.
func beatOf(name string, drives ...int) *Beat {
	name, addr, elsewhere := strings.Cut(name, "@")
	b := &Beat{Format: Format, Node: Node{Name: name, Addr: name + ":1", Incarnation: 1, Roles: rpc.Storage}}
	if elsewhere {
		b.Node.Addr, b.Node.Incarnation = addr, 2
		if addr == "" {
			b.Node.Addr = name + ":1"
		}
	}
	for _, d := range drives {
		b.Drives = append(b.Drives, DriveReport{ID: driveID(d)})
	}
	return b
}

// mapOf returns the map of nodes n0, n1, ... with one drive each, which has the node's number.
func mapOf(t testing.TB, k, m, nodes int) *placement.Map {
	t.Helper()
	var drives []placement.Drive
	for i := range nodes {
		drives = append(drives, placement.Drive{ID: driveID(i), Node: fmt.Sprint("n", i), Weight: DefaultWeight})
	}
	born, err := placement.Birth(placement.ClusterID{1}, 64, k, m, drives)
	if err != nil {
		t.Fatal(err)
	}
	return born
}

var testTiming = Timing{Lease: 2 * time.Second, Grant: 4 * time.Second}

// story drives a table through virtual time.
type story struct {
	t     *testing.T
	now   time.Time
	table *Table
}

func newStory(t *testing.T, m *placement.Map, peers ...Peer) *story {
	s := &story{t: t, now: time.Unix(1_000_000, 0)}
	s.table = NewTable(s.now, testTiming, m, peers, 1000)
	return s
}

func (s *story) pass(d time.Duration) {
	s.now = s.now.Add(d)
	s.table.Tick(s.now)
}

func (s *story) up() (names []string) {
	for _, p := range s.table.Peers() {
		if p.Up {
			names = append(names, p.Node.Name)
		}
	}
	return names
}

func (s *story) beat(b *Beat) Heard {
	s.t.Helper()
	return s.table.Beat(s.now, b)
}

// holder returns which node has the drive.
func (s *story) holder(drive int) string {
	for _, p := range s.table.Peers() {
		if slices.Contains(p.Drives, driveID(drive)) {
			return p.Node.Name
		}
	}
	return ""
}

func TestLease(t *testing.T) {
	s := newStory(t, nil)
	s.beat(beatOf("n0"))
	s.beat(beatOf("n1"))
	version := s.table.Version()
	s.pass(1900 * time.Millisecond)
	s.beat(beatOf("n1"))
	if s.table.Version() != version {
		t.Error("a beat without news made a new version")
	}
	s.pass(200 * time.Millisecond)
	if got := s.up(); !slices.Equal(got, []string{"n1"}) || s.table.Version() == version {
		t.Errorf("up are %v", got)
	}
	s.beat(beatOf("n0"))
	if got := s.up(); len(got) != 2 {
		t.Errorf("after its return up are %v", got)
	}
	leaving := beatOf("n1")
	leaving.Leaving = true
	s.beat(leaving)
	if got := s.up(); !slices.Equal(got, []string{"n0"}) {
		t.Errorf("after one left up are %v", got)
	}
	if h := s.beat(beatOf("n1@x:1")); h.Refused != "" {
		t.Errorf("the name of one that left: %s", h.Refused)
	}
}

func TestNameTwice(t *testing.T) {
	s := newStory(t, nil)
	s.beat(beatOf("n0"))
	if h := s.beat(beatOf("n0@elsewhere:1")); !strings.Contains(h.Refused, "another node named n0") {
		t.Errorf("a second n0: %q", h.Refused)
	}
	s.pass(3 * time.Second) // down, but it may still write
	if h := s.beat(beatOf("n0@elsewhere:1")); h.Refused == "" {
		t.Error("a second n0 within the grant of the first")
	}
	s.pass(2 * time.Second)
	if h := s.beat(beatOf("n0@elsewhere:1")); h.Refused != "" {
		t.Errorf("n0 moved: %q", h.Refused)
	}
	if h := s.beat(beatOf("n0")); h.Refused == "" {
		t.Error("the first n0 woke up")
	}
}

func TestRestart(t *testing.T) {
	s := newStory(t, nil)
	s.beat(beatOf("n0", 1))
	if h := s.beat(beatOf("n0@", 1)); h.Refused != "" || len(h.Twice) != 0 {
		t.Errorf("a restart at the same address: %+v", h)
	}
	if h := s.beat(beatOf("n0", 1)); h.Refused == "" {
		t.Error("a late beat of the process before")
	}
}

func TestDriveTwice(t *testing.T) {
	m := mapOf(t, 2, 1, 4)
	up := func(name string, drives ...int) Peer {
		p := Peer{Node: beatOf(name).Node, Up: true}
		for _, d := range drives {
			p.Drives = append(p.Drives, driveID(d))
		}
		return p
	}
	t.Run("a copy of an unknown drive", func(t *testing.T) {
		s := newStory(t, m)
		s.beat(beatOf("n8", 9))
		if h := s.beat(beatOf("n9", 9)); !slices.Equal(h.Twice, []placement.DriveID{driveID(9)}) || s.holder(9) != "n8" {
			t.Errorf("%+v, %s has it", h, s.holder(9))
		}
	})
	t.Run("a copy of a member", func(t *testing.T) {
		s := newStory(t, m)
		s.beat(beatOf("n1", 1))
		if h := s.beat(beatOf("n9", 1)); len(h.Twice) != 1 || s.holder(1) != "n1" {
			t.Errorf("%+v, %s has it", h, s.holder(1))
		}
	})
	t.Run("the copy speaks first to a new coordinator", func(t *testing.T) {
		s := newStory(t, m)
		if h := s.beat(beatOf("n9", 1)); len(h.Twice) != 0 || s.holder(1) != "" {
			t.Errorf("%+v, %s has it", h, s.holder(1))
		}
		s.beat(beatOf("n1", 1))
		if h := s.beat(beatOf("n9", 1)); len(h.Twice) != 1 || s.holder(1) != "n1" {
			t.Errorf("then %+v, %s has it", h, s.holder(1))
		}
	})
	t.Run("it moved while its node is up", func(t *testing.T) {
		s := newStory(t, m, up("n1", 1))
		s.beat(beatOf("n1"))
		if h := s.beat(beatOf("n9", 1)); len(h.Twice) != 0 || s.holder(1) != "n9" {
			t.Errorf("%+v, %s has it", h, s.holder(1))
		}
	})
	t.Run("it moved from a node that is down", func(t *testing.T) {
		s := newStory(t, m, up("n1", 1))
		s.beat(beatOf("n1", 1))
		s.pass(3 * time.Second)
		if h := s.beat(beatOf("n9", 1)); len(h.Twice) != 0 || s.holder(1) != "n1" {
			t.Errorf("within the grant: %+v, %s has it", h, s.holder(1))
		}
		s.pass(time.Second)
		if h := s.beat(beatOf("n9", 1)); len(h.Twice) != 0 || s.holder(1) != "n9" {
			t.Errorf("%+v, %s has it", h, s.holder(1))
		}
		s.beat(beatOf("n1", 1)) // before the map heard of it
		if h := s.beat(beatOf("n9", 1)); len(h.Twice) != 1 || s.holder(1) != "n1" {
			t.Errorf("the map decides: %+v, %s has it", h, s.holder(1))
		}
	})
	t.Run("two drives changed places", func(t *testing.T) {
		s := newStory(t, m)
		s.beat(beatOf("n1", 1))
		s.beat(beatOf("n2", 2))
		s.beat(beatOf("n1", 2)) // n2 has not noticed yet
		s.beat(beatOf("n2", 1))
		s.beat(beatOf("n1", 2))
		if s.holder(1) != "n2" || s.holder(2) != "n1" {
			t.Errorf("%s and %s have them", s.holder(1), s.holder(2))
		}
	})
}

func TestNewCoordinatorCountsEverybodyAsHeardOf(t *testing.T) {
	m := mapOf(t, 2, 1, 4)
	s := newStory(t, m,
		Peer{Node: beatOf("n0").Node, Up: true, Drives: []placement.DriveID{driveID(0)}},
		Peer{Node: beatOf("n1").Node, Drives: []placement.DriveID{driveID(1)}})
	if got := s.up(); !slices.Equal(got, []string{"n0"}) || !s.table.Present(driveID(0)) || s.table.Present(driveID(1)) {
		t.Errorf("up are %v", got)
	}
	if got := len(s.table.Peers()); got != 4 {
		t.Errorf("%d nodes, the map has 4", got)
	}
	s.pass(2 * time.Second)
	if got := s.up(); got != nil {
		t.Errorf("then %v", got)
	}
}

func TestOldestRead(t *testing.T) {
	s := newStory(t, nil, Peer{Node: Node{Name: "g0", Addr: "g0:1", Incarnation: 1, Roles: rpc.Gateway}, Up: true})
	if _, ok := s.table.OldestRead(s.now); ok {
		t.Error("g0 has not spoken")
	}
	b := beatOf("g0")
	b.Node.Roles, b.OldestRead = rpc.Gateway, s.now.Add(-time.Minute).UnixMilli()
	s.beat(b)
	if got, ok := s.table.OldestRead(s.now); !ok || got != b.OldestRead {
		t.Errorf("%d, %v", got, ok)
	}
	s.pass(3 * time.Second)
	if got, ok := s.table.OldestRead(s.now); !ok || got != b.OldestRead {
		t.Errorf("it may be cut off and read on: %d, %v", got, ok)
	}
	heard := s.now.UnixMilli()
	b.OldestRead = 0
	s.beat(b)
	s.pass(30 * time.Second)
	if got, ok := s.table.OldestRead(s.now); !ok || got != heard {
		t.Errorf("what it began since its last beat is not known: %d, %v, want %d", got, ok, heard)
	}
	s.pass(silentReads)
	if got, ok := s.table.OldestRead(s.now); !ok || got != s.now.UnixMilli() {
		t.Errorf("silent for long: %d, %v", got, ok)
	}
	b.Leaving = true
	s.beat(b)
	s.pass(time.Second)
	if got, ok := s.table.OldestRead(s.now); !ok || got != s.now.UnixMilli() {
		t.Errorf("gone: %d, %v", got, ok)
	}
}

func TestForgetsNodesWithoutDrives(t *testing.T) {
	s := newStory(t, mapOf(t, 2, 1, 3))
	s.beat(beatOf("g0"))
	s.pass(3 * time.Second)
	s.pass(2 * forgetAfter)
	if got := len(s.table.Peers()); got != 3 {
		t.Errorf("%d nodes", got)
	}
}
