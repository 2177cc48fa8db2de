package membership

import (
	"slices"
	"testing"

	"kintsugi/internal/rpc"
)

// TestLateHello gives a process the hello of another that has been replaced meanwhile: the coordinator knows better, and is asked.
func TestLateHello(t *testing.T) {
	d := NewDirectory(Hello{Node: Node{Name: "m1", Incarnation: 1, Addr: "a:1", Roles: rpc.Meta, Host: 1}}, nil)
	older := Node{Name: "m2", Incarnation: 20, Addr: "b:1", Roles: rpc.Meta, Host: 20}
	newer := Node{Name: "m2", Incarnation: 21, Addr: "b:1", Roles: rpc.Meta, Host: 21}
	answer := &Answer{Table: 7, Peers: []Peer{{Node: newer, Up: true}}}
	d.apply("a:1", answer)
	if d.now.Load().table != 7 {
		t.Errorf("it has table %d", d.now.Load().table)
	}
	d.Learn(Hello{Node: older})
	if d.now.Load().table == 7 {
		t.Error("it takes its table for the newest")
	}
	d.apply("a:1", answer)
	if !slices.Contains(d.Alive(), newer.Host) || slices.Contains(d.Alive(), older.Host) {
		t.Errorf("alive: %v", d.Alive())
	}
}
