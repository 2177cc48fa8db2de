package state_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state"
)

// crashDir names the directory in which the test binary, run as a child, writes until it is killed.
const crashDir = "STATE_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := writeForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

const crashGroups = 3

// writeForever applies one put per entry, each body naming its index, and prints the
// indexes that are synced.
func writeForever(dir string) error {
	m, err := state.Open(dir, state.Config{MemtableSize: 32 << 10})
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		group := uint32(n % crashGroups)
		at, err := m.Applied(group)
		if err != nil {
			return err
		}
		if _, err := m.Apply([]raftgroup.Entry{crashEntry(group, at.Index+1)}); err != nil {
			return err
		}
		if n%50 == 49 {
			if err := m.Sync(); err != nil {
				return err
			}
			fmt.Println(at.Index)
		}
	}
}

// crashEntry makes entry index of a group: the first makes the bucket.
func crashEntry(group uint32, index uint64) raftgroup.Entry {
	var cmd []byte
	if index == 1 {
		b := meta.PutBucket{Bucket: meta.Bucket{Name: bucket, Revision: 1, Incarnation: 1}, Create: true}
		cmd, _ = meta.EncodeCommand(meta.OpPutBucket, time.UnixMilli(1), b)
	} else {
		p := putBody(fmt.Sprintf("key%03d", index%100), []byte(fmt.Sprint(index, strings.Repeat("x", 300))))
		p.Version.RequestID = fmt.Sprint(index)
		cmd, _ = meta.EncodeCommand(meta.OpPutObject, time.UnixMilli(int64(index)), p)
	}
	return raftgroup.Entry{Group: group, Index: index, Term: 1, Data: cmd}
}

// TestKill kills a child that writes, several times in the same directory. Each time the state is
// exactly that after the entries up to the positions, and those are not below what was synced.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	for round := range 4 {
		synced := killWriter(t, dir, 3+2*round)
		d := openDriver(t, dir, state.Config{})
		for group := range uint32(crashGroups) {
			at, err := d.Applied(group)
			if err != nil || at.Index+1 < synced {
				t.Fatalf("position %d, synced %d, %v", at.Index, synced, err)
			}
			checkCrashed(t, d, group, at.Index)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killWriter kills the child after it has printed some lines, and returns the last of them.
func killWriter(t *testing.T, dir string, lines int) uint64 {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	synced := uint64(0)
	for scanner := bufio.NewScanner(out); lines > 0 && scanner.Scan(); lines-- {
		if _, err := fmt.Sscan(scanner.Text(), &synced); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	return synced
}

// checkCrashed compares a group with one that executed the entries up to last without a crash.
func checkCrashed(t *testing.T, d *driver, group uint32, last uint64) {
	t.Helper()
	for key := range uint64(100) {
		// The newest index up to last of this key; index 1 is the bucket.
		if last < key {
			continue
		}
		index := last - (last-key)%100
		if index < 2 {
			continue
		}
		d.want(group, fmt.Sprintf("key%03d", key), fmt.Sprint(index, strings.Repeat("x", 300)))
	}
}
