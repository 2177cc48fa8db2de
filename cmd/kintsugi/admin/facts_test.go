package admin

import (
	"fmt"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/meta/membership"
	"kintsugi/placement"
	"kintsugi/storagenode"
)

// now is when all tests happen.
var now = time.Date(2031, 5, 4, 12, 0, 0, 0, time.UTC)

// testDrive is the id of the drive of node n.
func testDrive(n int) placement.DriveID {
	return placement.DriveID{byte(n), 0xd0, 0xd1, 0xd2, 0xd3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(n)}
}

// testFacts is a cluster of 4+2 with metadata nodes m1..m3 and storage nodes n1..nN of one drive each, all well.
func testFacts(t testing.TB, storage int) *Facts {
	t.Helper()
	f := &Facts{Now: now, Node: "m1", Coordinated: true, Orders: membership.Orders{Serial: 3}}
	var drives []placement.Drive
	for i := 1; i <= 3; i++ {
		f.Members = append(f.Members, membership.NodeStatus{Up: true, Since: now.Add(-time.Hour), Heard: now, Beat: membership.Beat{
			Node: membership.Node{Name: fmt.Sprintf("m%d", i), Addr: fmt.Sprintf("10.0.0.%d:9002", i), Roles: rpc.Meta, Host: uint64(i), Release: "0.1.0"},
		}})
	}
	for i := 1; i <= storage; i++ {
		drives = append(drives, placement.Drive{ID: testDrive(i), Node: fmt.Sprintf("n%d", i), Weight: 100})
		f.Members = append(f.Members, membership.NodeStatus{Up: true, Since: now.Add(-time.Hour), Heard: now, Beat: membership.Beat{
			Node: membership.Node{Name: fmt.Sprintf("n%d", i), Addr: fmt.Sprintf("10.0.1.%d:9002", i), Roles: rpc.Storage, Release: "0.1.0"},
			Drives: []membership.DriveReport{{
				ID: testDrive(i), Dir: "/disk1", Capacity: 100 << 30, Free: 80 << 30, Used: 12 << 30, Live: 10 << 30, Shards: 1000,
			}},
			Orders: membership.Orders{Serial: 3},
		}})
	}
	m, err := placement.Birth(placement.ClusterID{0xc1}, 64, 4, 2, drives)
	if err != nil {
		t.Fatal(err)
	}
	f.Map = m
	for g := range 4 {
		f.Groups = append(f.Groups, GroupFacts{Group: g, Leader: uint64(g%3 + 1), Voters: []uint64{1, 2, 3}})
	}
	f.Redundancy = &storagenode.Redundancy{Chunks: 500, Bytes: 4 << 30, Lost: []uint64{500}, Live: []uint64{0, 0, 0, 0, 0, 0, 500}}
	return f
}

// kill makes a node one whose lease ended 40 s ago.
func (f *Facts) kill(name string) {
	m := f.member(name)
	m.Up, m.Since = false, now.Add(-40*time.Second)
}

// change makes a change and takes its map over.
func (f *Facts) change(t testing.TB, c Change) {
	t.Helper()
	next, err := c.Next(f)
	if err != nil {
		t.Fatal(err)
	}
	f.Map = next
}

// settle closes all transitions.
func (f *Facts) settle() { f.Map = f.Map.Complete(f.Map.Open()) }

func weight(w uint32) *uint32 { return &w }
