package shardstore_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

// powerDisk remembers what writes have replaced until a sync, so that a test can
// undo some of it, as a power cut does to what was in the drive's cache.
type powerDisk struct {
	shardstore.LinuxDisk
	mu   sync.RWMutex // held for reading during I/O, for writing while the power is cut
	list sync.Mutex   // guards undo
	undo []*undo
}

type undo struct {
	name string
	off  int64
	old  []byte
	done bool // the write has returned: a sync that begins now covers it
}

// powerPiece is what a drive writes as one.
const powerPiece = 4096

func (d *powerDisk) WriteTo(f *os.File, bufs [][]byte, off int64) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var n int
	for _, b := range bufs {
		n += len(b)
	}
	old := make([]byte, n)
	if r, err := os.Open(f.Name()); err == nil {
		_, _ = r.ReadAt(old, off) // what is behind the end reads as zeros
		r.Close()
	}
	var mine []*undo
	for at := 0; at < n; at += powerPiece {
		mine = append(mine, &undo{name: filepath.Base(f.Name()), off: off + int64(at), old: old[at:min(n, at+powerPiece)]})
	}
	d.list.Lock()
	d.undo = append(d.undo, mine...)
	d.list.Unlock()
	err := shardstore.WriteTo(d.LinuxDisk, f, bufs, off)
	d.list.Lock()
	defer d.list.Unlock()
	for _, u := range mine {
		u.done = true
	}
	return err
}

func (d *powerDisk) SyncFile(f *os.File) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	covered := map[*undo]bool{}
	d.list.Lock()
	for _, u := range d.undo {
		covered[u] = u.done && u.name == filepath.Base(f.Name())
	}
	d.list.Unlock()
	if err := shardstore.SyncFile(d.LinuxDisk, f); err != nil {
		return err
	}
	d.list.Lock()
	defer d.list.Unlock()
	d.undo = slices.DeleteFunc(d.undo, func(u *undo) bool { return covered[u] })
	return nil
}

// cut copies the directory as it is after a power cut: of what was not synced
// some pieces are there and some are not.
func (d *powerDisk) cut(t *testing.T, dir string, acked func() map[int]bool) (string, map[int]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := acked()
	after := t.TempDir()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name.Name()))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil || os.WriteFile(filepath.Join(after, name.Name()), b, 0o600) != nil {
			t.Fatal("cannot copy")
		}
	}
	for i := len(d.undo) - 1; i >= 0; i-- {
		u := d.undo[i]
		if rand.IntN(2) == 0 {
			continue
		}
		f, err := os.OpenFile(filepath.Join(after, u.name), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if _, err := f.WriteAt(u.old, u.off); err != nil {
			t.Error(err)
		}
		f.Close()
	}
	return after, known
}

// TestPowerCut cuts the power under eight writers: every acknowledged shard is
// there, no torn one is taken for a shard or for a lost one.
func TestPowerCut(t *testing.T) {
	for range 3 {
		dir := t.TempDir()
		d := &powerDisk{}
		s := openAt(t, dir, small.WithDisk(shardstore.Hooked(d)))
		var mu sync.Mutex
		acked := map[int]bool{}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for w := range crashWriters {
			wg.Go(func() {
				for n := w; ; n += crashWriters {
					select {
					case <-stop:
						return
					default:
					}
					h := shardtest.Header(n)
					if err := s.Put(t.Context(), h, shardtest.Payload(h.ID, crashSize(n))); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					acked[n] = true
					mu.Unlock()
				}
			})
		}
		waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(acked) > 60 })
		after, known := d.cut(t, dir, func() map[int]bool {
			mu.Lock()
			defer mu.Unlock()
			m := map[int]bool{}
			for n := range acked {
				m[n] = true
			}
			return m
		})
		close(stop)
		wg.Wait()
		s.Close()
		s = openAt(t, after, small)
		for n := range known {
			shardtest.Want(t, s, shardtest.Header(n).ID, crashSize(n))
		}
		if u := s.Usage(); u.Corrupt != 0 {
			t.Errorf("Usage = %+v", u)
		}
		err := s.Scrub(t.Context(), 0, func(id placement.ShardID, err error) { t.Errorf("%v: %v", id, err) })
		if err != nil {
			t.Error(err)
		}
		s.Close()
	}
}
