package raftgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wantFailed waits for h to fail with want and to close itself.
func wantFailed(t *testing.T, h *Host, want error) {
	t.Helper()
	for name, ch := range map[string]<-chan struct{}{"fail": h.Failed(), "close itself": h.done} {
		select {
		case <-ch:
		case <-time.After(5 * time.Second):
			t.Fatalf("host did not %s", name)
		}
	}
	if !errors.Is(h.Err(), want) {
		t.Errorf("host failed with %v, want %v", h.Err(), want)
	}
	if _, err := h.Propose(t.Context(), 0, []byte("x")); !errors.Is(err, ErrStopped) {
		t.Errorf("propose to a failed host: %v", err)
	}
	if err := h.ReadBarrier(t.Context(), 0); err == nil {
		t.Error("read from a failed host")
	}
}

// TestVanishedDirectory removes the directory of the leader, busy or idle: it fails, the others go on.
func TestVanishedDirectory(t *testing.T) {
	for _, busy := range []bool{true, false} {
		t.Run(fmt.Sprintf("busy %v", busy), func(t *testing.T) {
			c := startCluster(t, 2, 1, 2, 3)
			c.put(0, "a")
			h := c.hosts[1]
			must(t, os.RemoveAll(filepath.Join(c.dir, "1")))
			if busy {
				h.Propose(t.Context(), 0, []byte("b"))
			}
			wantFailed(t, h, ErrVanished)
			delete(c.hosts, 1)
			c.put(0, "c")
			c.put(1, "d")
			c.same(2, 3)
		})
	}
}

// TestDiskFault lets the leader's disk refuse a sync: the host fails and never syncs again.
func TestDiskFault(t *testing.T) {
	c := newCluster(t, 2, 1, 2, 3)
	var broken atomic.Bool
	var syncs atomic.Int64
	c.tune = func(cfg *Config) {
		cfg.disk = realDisk()
		sync := cfg.disk.sync
		if cfg.ID == 1 {
			cfg.disk.sync = func(f *os.File) error {
				if broken.Load() {
					syncs.Add(1)
					return unix.EIO
				}
				return sync(f)
			}
		}
	}
	for _, id := range c.first {
		c.open(id)
	}
	c.lead(1)
	c.put(0, "a")
	broken.Store(true)
	h := c.hosts[1]
	delete(c.hosts, 1)
	h.Propose(t.Context(), 0, []byte("b"))
	wantFailed(t, h, unix.EIO)
	c.put(0, "c")
	c.same(2, 3)
	if n := syncs.Load(); n != 1 {
		t.Errorf("%d syncs after the first had failed", n-1)
	}
}

// TestMachineFails fails the host when its state does, or panics.
func TestMachineFails(t *testing.T) {
	c := startCluster(t, 1, 1, 2, 3)
	c.put(0, "a")
	cause := errors.New("state is broken")
	c.machines[1].mu.Lock()
	c.machines[1].fail = cause
	c.machines[1].mu.Unlock()
	h := c.hosts[1]
	delete(c.hosts, 1)
	if _, err := h.Propose(t.Context(), 0, []byte("b")); !errors.Is(err, ErrStopped) {
		t.Errorf("propose: %v", err)
	}
	wantFailed(t, h, cause)
	c.put(0, "c")
	c.same(2, 3)
	if err := guard(func() error { panic("damage") }); err == nil || !strings.Contains(err.Error(), "damage") {
		t.Errorf("panic became %v", err)
	}
}

// TestDamagedReplica opens replicas with damaged logs. With peers a doubtful tail counts as damage; alone, or told to, the
// host cuts it.
func TestDamagedReplica(t *testing.T) {
	tests := []struct {
		name   string
		ids    []uint64
		offset func(end int64) int64 // to flip, with the end of the last batch
		cut    bool
		want   error
	}{
		{"middle, peers", []uint64{1, 2, 3}, func(int64) int64 { return 100 }, true, ErrDamaged},
		{"middle, alone", []uint64{1}, func(int64) int64 { return 100 }, true, ErrDamaged},
		{"tail, peers", []uint64{1, 2, 3}, func(end int64) int64 { return end - 4096 + 70 }, false, ErrDoubtfulTail},
		{"tail, peers, cut", []uint64{1, 2, 3}, func(end int64) int64 { return end - 4096 + 70 }, true, nil},
		{"tail, alone", []uint64{1}, func(end int64) int64 { return end - 4096 + 70 }, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := startCluster(t, 1, tt.ids...)
			h := c.hosts[1]
			for i := range 10 {
				_, err := h.Propose(t.Context(), 0, fmt.Append(nil, "command ", i))
				must(t, err)
			}
			c.kill(1)
			files := logFiles(t, h.cfg.Dir)
			flip(t, files[len(files)-1], tt.offset(h.log.end))
			cfg := c.config(1)
			cfg.CutDoubtfulTail = tt.cut
			again, err := Open(cfg)
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Fatalf("open: %v, want %v", err, tt.want)
			}
			if err == nil {
				must(t, again.Close())
			}
		})
	}
}

// TestLostLog refuses a log that was emptied under a state that is not, one of another replica, and a state that was
// emptied over a log that is not.
func TestLostLog(t *testing.T) {
	setUp := func(t *testing.T) *cluster {
		c := startCluster(t, 1, 1)
		for i := range 300 {
			c.put(0, fmt.Sprint(i, strings.Repeat("x", 8000)))
		}
		c.eventually("a shorter log", func() error {
			if s, _ := c.hosts[1].Status(t.Context(), 0); s.First <= 2 {
				return errors.New("not yet")
			}
			return nil
		})
		c.close(1)
		return c
	}
	t.Run("log", func(t *testing.T) {
		c := setUp(t)
		must(t, os.RemoveAll(filepath.Join(c.dir, "1")))
		if _, err := Open(c.config(1)); !errors.Is(err, ErrDamaged) {
			t.Errorf("open: %v", err)
		}
	})
	t.Run("oldest segment", func(t *testing.T) {
		c := setUp(t)
		must(t, os.Remove(logFiles(t, filepath.Join(c.dir, "1"))[0]))
		if _, err := Open(c.config(1)); !errors.Is(err, ErrDamaged) {
			t.Errorf("open: %v", err)
		}
	})
	t.Run("state", func(t *testing.T) {
		c := setUp(t)
		c.machines[1] = newListMachine()
		if _, err := Open(c.config(1)); !errors.Is(err, ErrDamaged) {
			t.Errorf("open: %v", err)
		}
	})
	t.Run("other replica", func(t *testing.T) {
		c := setUp(t)
		cfg := c.config(1)
		cfg.ID = 2
		if _, err := Open(cfg); !errors.Is(err, ErrForeign) {
			t.Errorf("open: %v", err)
		}
	})
}

// TestFlipAnyByte flips bytes all over a log: either it opens with all its entries, or it says that it is damaged.
func TestFlipAnyByte(t *testing.T) {
	dir := t.TempDir()
	path, at := writeTestLog(t, dir)
	whole, err := os.ReadFile(path)
	must(t, err)
	for off := int64(0); off < at[5]+4096; off += 101 {
		p := bytes.Clone(whole)
		p[off] ^= 1
		must(t, os.WriteFile(path, p, 0o600))
		l, doubtful, err := openLog(testLogConfig(dir))
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d: %v", off, err)
			}
			continue
		}
		last := l.groups[0].last()
		must(t, l.close(false))
		if last != 5 && !(doubtful && last == 4) {
			t.Fatalf("byte %d: entries up to %d, doubtful %v", off, last, doubtful)
		}
	}
}
