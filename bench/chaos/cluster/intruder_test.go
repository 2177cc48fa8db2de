package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestHas(t *testing.T) {
	const n1, other = `{"name": "n1", "addr": "h:1", "up": true}`, `{"name": "n1-clone", "addr": "h:9", "up": true}`
	const drive = `{"node": "n1", "state": "up"}`
	under := func(name string, mayShow bool) intruder {
		return intruder{Node: &Node{Name: name, Addr: "h:9"}, mayShow: mayShow}
	}
	for _, c := range []struct {
		name, nodes, drives string
		intruder            intruder
		want                bool
	}{
		{"it is not there", n1, drive, under("n1-clone", true), false},
		{"a node without drives", n1 + "," + other, drive, under("n1-clone", true), false},
		{"a node with a drive", n1 + "," + other, drive + `,{"node": "n1-clone", "state": "new"}`, under("n1-clone", true), true},
		{"a node that must not be one", n1 + "," + other, drive, under("n1-clone", false), true},
		{"the true one has the name", n1, drive, under("n1", false), false},
		{"it has taken the name", `{"name": "n1", "addr": "h:9", "up": true}`, drive, under("n1", false), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s Status
			if err := json.Unmarshal(fmt.Appendf(nil, `{"nodes": [%s], "drives": [%s]}`, c.nodes, c.drives), &s); err != nil {
				t.Fatal(err)
			}
			if got := s.has(c.intruder); (got != "") != c.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

// An intruder that ends or complains was refused; one that runs on and says nothing has shown nothing.
func TestIntruders(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         error
	}{
		{"ends", "exit 1", nil},
		{"complains", "echo level=ERROR; sleep 300", nil},
		{"is silent", "sleep 300", errSilent},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := sleepers(t)
			k.config.Program = "/bin/false" // nobody can be asked
			x := &Node{Name: "x", Log: filepath.Join(t.TempDir(), "log"), Command: []string{"sh", "-c", c.script}}
			undo, err := k.intrude([]intruder{{Node: x}})
			if err != nil {
				t.Fatal(err)
			}
			err = poll(t.Context(), joinTime, func() error {
				if c.want == nil && x.Alive() && !x.complains() {
					return errNotYet
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := undo(t.Context()); !errors.Is(err, c.want) || x.Alive() {
				t.Errorf("got %v, want %v; it lives: %v", err, c.want, x.Alive())
			}
		})
	}
}

func TestCopyAlive(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "in", "to")
	if err := os.WriteFile(filepath.Join(from, "a"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is there already is replaced
		if err := copyAlive(to, from); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(to, "a")); err != nil || string(data) != "1" {
		t.Errorf("got %q, %v", data, err)
	}
}
