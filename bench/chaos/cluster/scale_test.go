package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nodesOf are storage nodes with command lines like those of dev.
func nodesOf(t *testing.T, names ...string) *Cluster {
	t.Helper()
	k := &Cluster{config: Config{Dir: t.TempDir()}}
	for _, name := range names {
		dir := filepath.Join(k.dir(), name, "d1")
		k.add(&Node{Name: name, Role: "storagenode", Dirs: []string{dir},
			Command: []string{"kintsugi", "storagenode", "--node", name, "--rpc-addr", "127.0.0.1:1", "--admin-addr", "127.0.0.1:2", "--join", "127.0.0.1:3", dir}})
	}
	return k
}

func TestAnother(t *testing.T) {
	k := nodesOf(t, "n1", "n2")
	if name := k.newName(); name != "n3" {
		t.Errorf("the next node is %s", name)
	}
	dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	n, err := k.another("n3", dirs)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Concat([]string{"kintsugi", "storagenode", "--node", "n3", "--rpc-addr", n.Addr, "--admin-addr", strings.TrimPrefix(n.Admin, "http://"),
		"--join", "127.0.0.1:3"}, dirs)
	if !slices.Equal(n.Command, want) || n.Addr == "127.0.0.1:1" {
		t.Errorf("got %q, want %q", n.Command, want)
	}
	if first, _ := k.Node("n1"); first.Command[3] != "n1" {
		t.Error("the command line of the model was changed")
	}
	if _, err := os.Stat(dirs[1]); err != nil {
		t.Error(err)
	}
	if _, err := (&Cluster{}).another("n1", nil); !errors.Is(err, errNoModel) {
		t.Errorf("got %v", err)
	}
}

func TestMembers(t *testing.T) {
	k := nodesOf(t, "n1", "n2", "n3")
	k.nodes[1].removed = true
	if got := k.Members(); len(got) != 2 || got[1].Name != "n3" || len(k.Nodes()) != 3 {
		t.Errorf("got %d members of %d nodes", len(got), len(k.Nodes()))
	}
	if name := k.newName(); name != "n4" {
		t.Errorf("the name of a node that was removed is given again: %s", name)
	}
}

func TestRebuilt(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes []NodeStatus
		lost  uint64
		want  bool
	}{
		{"rebuilt", []NodeStatus{{Up: true}, {}}, 0, true},
		{"not yet", []NodeStatus{{Up: true}, {}}, 9, false},
		{"nobody is away", []NodeStatus{{Up: true}, {Up: true}}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Status{Nodes: c.nodes, Chunks: &Chunks{ByLost: []uint64{10, c.lost}}}
			if got := s.Rebuilt(2); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
