package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sleepers are a cluster of processes that do nothing.
func sleepers(t *testing.T, names ...string) *Cluster {
	t.Helper()
	k := &Cluster{config: Config{Dir: t.TempDir()}, launcher: newLauncher()}
	for _, name := range names {
		dir := filepath.Join(k.config.Dir, name)
		if err := os.MkdirAll(filepath.Join(dir, "shards"), 0o700); err != nil {
			t.Fatal(err)
		}
		n := &Node{Name: name, Role: "storagenode", Log: filepath.Join(k.config.Dir, name+".log"), Command: []string{"sleep", "300"}, Dirs: []string{dir}}
		k.nodes = append(k.nodes, n)
		if err := k.Start(n); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, n := range k.nodes {
			_ = n.Continue() // it may be dead
			n.end()
		}
		k.launcher.close()
	})
	return k
}

func (k *Cluster) write(t *testing.T, node, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(k.config.Dir, node, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (k *Cluster) read(t *testing.T, node, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(k.config.Dir, node, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return data
}

func (k *Cluster) inject(t *testing.T, fault string, how How, nodes ...string) Undo {
	t.Helper()
	how.Rand = rand.New(rand.NewPCG(1, 1))
	undo, err := k.Inject(t.Context(), fault, nodes, how)
	if err != nil {
		t.Fatal(err)
	}
	return undo
}

// state is the letter by which /proc tells what a process does.
func state(t *testing.T, n *Node) string {
	t.Helper()
	pid, _, _ := n.State()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "gone"
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return rest[:1]
}

func TestProcessFaults(t *testing.T) {
	k := sleepers(t, "n1", "n2")
	a, b := k.nodes[0], k.nodes[1]
	before, _, _ := a.State()
	undo := k.inject(t, "kill", How{}, "n1", "n2")
	if a.Alive() || b.Alive() {
		t.Error("a killed process lives")
	}
	if err := undo(t.Context()); err != nil || !a.Alive() || !b.Alive() {
		t.Errorf("not started again: %v", err)
	}
	if after, down, _ := a.State(); after == before || down || a.Starts() != 2 {
		t.Errorf("process %d, before %d, down %v", after, before, down)
	}
	undo = k.inject(t, "stop", How{}, "n1")
	err := poll(t.Context(), 10*time.Second, func() error { // a signal takes a moment
		if state(t, a) != "T" {
			return errNotYet
		}
		return nil
	})
	if err != nil {
		t.Errorf("a stopped process is in state %s", state(t, a))
	}
	if err := undo(t.Context()); err != nil || state(t, a) == "T" {
		t.Errorf("it does not go on: %v", err)
	}
	k.inject(t, "restart", How{}, "n2")
	if !b.Alive() || b.Starts() != 3 {
		t.Errorf("started %d times", b.Starts())
	}
	k.inject(t, "kill", How{}, "n1")
	k.inject(t, "stop", How{}, "n2")
	if err := k.Mend(); err != nil || !a.Alive() || state(t, b) == "T" {
		t.Errorf("not mended: %v", err)
	}
	for _, fault := range []string{"cut", "narrow"} {
		if _, err := k.Inject(t.Context(), fault, []string{"n1"}, How{}); !errors.Is(err, ErrCannot) {
			t.Errorf("%s: got %v", fault, err)
		}
	}
	if _, err := k.Inject(t.Context(), "kill", []string{"n7"}, How{}); err == nil {
		t.Error("a node that is not there was killed")
	}
}

func TestDiskFaults(t *testing.T) {
	k := sleepers(t, "n1", "n2")
	full := bytes.Repeat([]byte{7}, 100_000)
	k.write(t, "n1", "shards/seg-1", full)
	k.write(t, "n1", "shards/seg-2", append(bytes.Clone(full), make([]byte, 50_000)...))

	k.inject(t, "flip", How{Count: 1, Where: "shards"}, "n1")
	all := append(k.read(t, "n1", "shards/seg-1"), k.read(t, "n1", "shards/seg-2")...)
	if n := len(all) - bytes.Count(all, []byte{7}) - 50_000; n != 1 {
		t.Errorf("%d bytes are damaged, want 1", n)
	}
	k.inject(t, "truncate", How{Count: 1, Where: "shards"}, "n1")
	if n := len(k.read(t, "n1", "shards/seg-2")); n >= 100_000 {
		t.Errorf("after it was truncated a file has %d bytes", n)
	}
	if n := len(k.read(t, "n1", "shards/seg-1")); n != 100_000 {
		t.Errorf("a file that is not the newest has %d bytes", n)
	}

	undo := k.inject(t, "rollback", How{}, "n1")
	k.write(t, "n1", "shards/seg-3", full)
	if err := undo(t.Context()); err != nil || k.read(t, "n1", "shards/seg-3") != nil || k.read(t, "n1", "shards/seg-1") == nil {
		t.Errorf("the copy is not back: %v", err)
	}
	k.inject(t, "swap", How{}, "n1", "n2")
	if k.read(t, "n1", "shards/seg-1") != nil || k.read(t, "n2", "shards/seg-1") == nil {
		t.Error("the drives are not swapped")
	}
	k.inject(t, "wipe", How{}, "n2")
	if k.read(t, "n2", "shards/seg-1") != nil || !k.nodes[1].Alive() {
		t.Error("the drive is not empty, or its node does not run")
	}
	if _, err := k.Inject(t.Context(), "fill", []string{"n1"}, How{}); !errors.Is(err, ErrCannot) {
		t.Errorf("the disk of the machine was filled: %v", err)
	}
}

func TestIllDrives(t *testing.T) {
	k := sleepers(t, "n1", "n2")
	how := How{By: time.Millisecond, Share: 1, Count: 1, Rand: rand.New(rand.NewPCG(1, 1))}
	for _, fault := range []string{"delay", "read-errors", "write-errors", "power-cut", "lost-syncs", "lost-writes", "misdirected"} {
		if _, err := k.Inject(t.Context(), fault, []string{"n1"}, how); !errors.Is(err, ErrCannot) {
			t.Errorf("%s of a drive that cannot be ill: %v", fault, err)
		}
	}
	// A process that does not serve drives takes the place of one that cannot mount them.
	k.config.Program, k.config.FaultyDrives = "false", []string{}
	k.output = os.Stderr
	if err := k.mountFaulty(t.Context()); !errors.Is(err, ErrCannot) || !k.nodes[0].Alive() || !k.nodes[1].Alive() {
		t.Errorf("drives that cannot be mounted: %v", err)
	}
	if _, err := k.Inject(t.Context(), "delay", []string{"n1"}, how); !errors.Is(err, ErrCannot) {
		t.Errorf("got %v", err)
	}
}

func TestPanics(t *testing.T) {
	for _, c := range []struct {
		name, log string
		found     bool
	}{
		{"well", "time=2026 level=INFO msg=\"no panic here\"\n", false},
		{"panic", "x\npanic: oh\n\ngoroutine 1 [running]:\n", true},
		{"fatal", "fatal error: all goroutines are asleep\n", true},
		{"race", "==================\nWARNING: DATA RACE\n", true},
		{"caught", "level=ERROR msg=\"panic in a handler\"\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &Node{Log: filepath.Join(t.TempDir(), "log")}
			if err := os.WriteFile(n.Log, []byte(c.log), 0o600); err != nil {
				t.Fatal(err)
			}
			if lines, err := n.Panics(); err != nil || (lines != nil) != c.found {
				t.Errorf("got %q, %v", lines, err)
			}
		})
	}
}

func TestParseMetrics(t *testing.T) {
	m := parseMetrics("# HELP a b\na 1\nb{x=\"1\"} 2\nb{x=\"2\"} 3e2\nbroken\nc NaN_\n")
	if m["a"] != 1 || m["b"] != 302 || len(m) != 2 {
		t.Errorf("got %v", m)
	}
}

func TestWhole(t *testing.T) {
	whole := func(change func(*Status)) bool {
		s := Status{Chunks: &Chunks{Total: 10, ByLost: []uint64{10}}}
		if err := json.Unmarshal([]byte(`{"nodes": [{"up": true}, {"up": true}], "drives": [{"state": "up", "live": true}, {"state": "out"}]}`), &s); err != nil {
			t.Fatal(err)
		}
		change(&s)
		return s.Whole(2)
	}
	for _, c := range []struct {
		name   string
		change func(*Status)
		want   bool
	}{
		{"whole", func(*Status) {}, true},
		{"being written", func(s *Status) { s.Chunks.ByLost = []uint64{8, 1}; s.Chunks.Unreadable = 1 }, true},
		{"lacking", func(s *Status) { s.Chunks.ByLost = []uint64{7, 3} }, false},
		{"not counted", func(s *Status) { s.Chunks = nil }, false},
		{"moving", func(s *Status) { s.Moving = 1 }, false},
		{"pending", func(s *Status) { s.Repair.PendingShards = 1 }, false},
		{"a node is away", func(s *Status) { s.Nodes[1].Up = false }, false},
		{"a drive is away", func(s *Status) { s.Drives[0].Live = false }, false},
		{"a drive is damaged", func(s *Status) { s.Drives[0].Corrupt = 1 }, false},
		{"nobody", func(s *Status) { s.Nodes = nil }, false},
		{"metadata", func(s *Status) { s.Metadata.Lost = 1 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := whole(c.change); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestStartFails(t *testing.T) {
	_, err := Start(context.Background(), Config{Program: "/bin/false", Dir: t.TempDir(), Code: "4+2"})
	if !errors.Is(err, ErrStart) {
		t.Errorf("got %v", err)
	}
}
