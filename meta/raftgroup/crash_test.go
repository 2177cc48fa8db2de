package raftgroup

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const crashDirEnv = "RAFTGROUP_CRASH_DIR"

// TestCrashChild is the process that TestSIGKILL kills: three hosts that print each command when it is acknowledged.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDirEnv)
	if dir == "" {
		t.Skip("runs as a child of TestSIGKILL")
	}
	c := crashCluster(t, dir)
	from := len(c.machines[1].commands(0))
	for i := from; ; i++ {
		if _, err := c.hosts[1].Propose(t.Context(), 0, crashCommand(i)); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("acknowledged %d\n", i)
	}
}

// crashCluster opens three hosts whose states are empty: every restart executes the whole log.
func crashCluster(t *testing.T, dir string) *cluster {
	c := newCluster(t, 1, 1, 2, 3)
	c.dir = dir
	c.tune = func(cfg *Config) { cfg.LogBytes = 1 << 30 }
	for _, id := range c.first {
		c.open(id)
	}
	c.lead(1)
	return c
}

func crashCommand(i int) []byte {
	p := make([]byte, 3000+i%5000)
	binary.LittleEndian.PutUint64(p, uint64(i))
	return p
}

// TestSIGKILL kills the process in the middle of writes again and again: every acknowledged command is there, in order and
// once, and no replica calls its log damaged.
func TestSIGKILL(t *testing.T) {
	dir := t.TempDir()
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	last := -1
	for round := range rounds {
		last = max(last, runUntilKilled(t, dir, time.Duration(20+30*round)*time.Millisecond))
		c := crashCluster(t, dir)
		got := c.machines[1].commands(0)
		if len(got) <= last {
			t.Fatalf("round %d: %d commands, acknowledged up to %d", round, len(got), last)
		}
		for i, cmd := range got {
			if cmd != string(crashCommand(i)) {
				t.Fatalf("round %d: command %d is %d", round, i, binary.LittleEndian.Uint64([]byte(cmd)))
			}
		}
		c.same(1, 2, 3)
		for id := range c.hosts {
			if round%2 == 0 {
				c.close(id)
			} else {
				c.kill(id)
			}
		}
	}
	if last < 10 {
		t.Errorf("only %d commands in all", last)
	}
	if n := len(logFiles(t, filepath.Join(dir, "1"))); n < rounds {
		t.Errorf("%d segments", n)
	}
}

// runUntilKilled lets a child write for a while and returns the last number that it acknowledged.
func runUntilKilled(t *testing.T, dir string, life time.Duration) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$", "-test.v")
	cmd.Env = append(os.Environ(), crashDirEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	last := -1
	var kill *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &n); err != nil {
			continue
		}
		if last = n; kill == nil {
			kill = time.AfterFunc(life, func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait()
	if kill == nil {
		t.Fatal("the child acknowledged nothing")
	}
	return last
}
