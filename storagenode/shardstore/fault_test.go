package shardstore_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kintsugi/internal/directio"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

// TestFaultyDisk checks what an error of each kind does to the store.
func TestFaultyDisk(t *testing.T) {
	eio := func() error { return unix.EIO }
	for _, op := range []string{"write", "sync", "allocate"} {
		for _, size := range []int{60000, 300000} {
			t.Run(op, func(t *testing.T) {
				dir := t.TempDir()
				var d shardstore.FaultyDisk
				s := openAt(t, dir, small.WithDisk(&d))
				defer s.Close()
				fill(t, s)
				d.Set(op, eio)
				h := shardtest.Header(1000)
				var err error
				for n := 0; err == nil && n < 10; n++ { // an allocation lasts for some
					h = shardtest.Header(1000 + n)
					err = s.Put(t.Context(), h, make([]byte, size))
				}
				shardtest.WantError(t, err, shardstore.ErrFailed)
				<-s.Failed()
				if s.Err() == nil {
					t.Error("no reason")
				}
				shardtest.WantError(t, s.ReadAt(t.Context(), shardtest.Header(1).ID, nil, 0), shardstore.ErrFailed)
				shardtest.WantError(t, s.Delete(t.Context(), []placement.ShardID{h.ID}), shardstore.ErrFailed)
				s.Close()
				s = openAt(t, dir, small)
				defer s.Close()
				check(t, s)
			})
		}
	}
}

// tornDisk ends the first write after it is armed behind the block that has the header.
type tornDisk struct {
	shardstore.LinuxDisk
	armed atomic.Bool
}

func (d *tornDisk) SyncFile(f *os.File) error { return shardstore.SyncFile(d.LinuxDisk, f) }

func (d *tornDisk) WriteTo(f *os.File, bufs [][]byte, off int64) error {
	if !d.armed.Swap(false) {
		return shardstore.WriteTo(d.LinuxDisk, f, bufs, off)
	}
	if err := shardstore.WriteTo(d.LinuxDisk, f, [][]byte{bufs[0][:directio.BlockSize]}, off); err != nil {
		return err
	}
	return unix.EIO
}

// TestTornWrite reopens a store whose last write has a header and no payload:
// nobody was told of that shard, so it is not a lost one.
func TestTornWrite(t *testing.T) {
	for name, size := range map[string]int{"packed": 60000, "direct": 300000} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := &tornDisk{}
			s := openAt(t, dir, small.WithDisk(shardstore.Hooked(d)))
			fill(t, s)
			tidy(t, s) // what the housekeeper has to write is written
			d.armed.Store(true)
			h := shardtest.Header(1000)
			shardtest.WantError(t, s.Put(t.Context(), h, shardtest.Payload(h.ID, size)), shardstore.ErrFailed)
			s.Close()
			s = openAt(t, dir, small)
			defer s.Close()
			if u := s.Usage(); u.Corrupt != 0 {
				t.Errorf("Usage = %+v", u)
			}
			shardtest.WantError(t, s.ReadAt(t.Context(), h.ID, make([]byte, 10), 0), shardstore.ErrNotFound)
			check(t, s)
		})
	}
}

// TestSyncIsNotRetried counts the syncs after the first one that fails.
func TestSyncIsNotRetried(t *testing.T) {
	var d shardstore.FaultyDisk
	var calls atomic.Int32
	s := openAt(t, t.TempDir(), small.WithDisk(&d))
	shardtest.Put(t, s, shardtest.Header(1), 100)
	tidy(t, s)
	d.Set("sync", func() error { calls.Add(1); return unix.EIO })
	for n := range 5 {
		shardtest.WantError(t, s.Put(t.Context(), shardtest.Header(n+10), nil), shardstore.ErrFailed)
	}
	s.Close()
	if calls.Load() != 1 {
		t.Errorf("%d syncs", calls.Load())
	}
}

// TestReadError is EIO on a read: that shard is lost, the drive goes on.
func TestReadError(t *testing.T) {
	var d shardstore.FaultyDisk
	var broken atomic.Bool
	d.Set("read", func() error {
		if broken.Load() {
			return unix.EIO
		}
		return nil
	})
	s := openAt(t, t.TempDir(), small.WithDisk(&d))
	defer s.Close()
	fill(t, s)
	broken.Store(true)
	shardtest.WantError(t, s.ReadAt(t.Context(), shardtest.Header(3).ID, make([]byte, 10), 0), shardstore.ErrCorrupt)
	broken.Store(false)
	check(t, s, 3)
	mend(t, s, 3)
	check(t, s)
	if s.Err() != nil {
		t.Error(s.Err())
	}
}

// TestUnreadableAtOpen has a medium that refuses every read of records during recovery.
func TestUnreadableAtOpen(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, small)
	fill(t, s)
	s.Close()
	removeHints(t, dir)
	var d shardstore.FaultyDisk
	var calls atomic.Int32
	d.Set("read", func() error {
		if calls.Add(1)%7 == 0 {
			return unix.EIO
		}
		return nil
	})
	s = openAt(t, dir, small.WithDisk(&d))
	defer s.Close()
	d.Set("read", nil)
	for n := range filled {
		mend(t, s, n)
	}
	check(t, s)
}

// TestVanishedDirectory removes the directory under a running store, and puts
// another one in its place.
func TestVanishedDirectory(t *testing.T) {
	for _, replace := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "shards")
		cfg := small
		cfg.WatchInterval = 20 * time.Millisecond
		s := openAt(t, dir, cfg)
		fill(t, s)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if replace {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-s.Failed():
		case <-time.After(5 * time.Second):
			t.Fatal("not noticed")
		}
		shardtest.WantError(t, s.Put(t.Context(), shardtest.Header(1000), nil), shardstore.ErrFailed)
		s.Close()
		if names, _ := os.ReadDir(dir); len(names) > 0 {
			t.Errorf("the old store left %v in the new directory", names)
		}
	}
}

// TestVanishedSegment is noticed by the write itself, not only by the watch.
func TestVanishedSegment(t *testing.T) {
	dir := t.TempDir()
	cfg := small
	cfg.WatchInterval = time.Hour
	s := openAt(t, dir, cfg)
	defer s.Close()
	shardtest.Put(t, s, shardtest.Header(1), 100)
	p, _ := s.Locate(shardtest.Header(1).ID)
	if err := os.Remove(filepath.Join(dir, p.File)); err != nil {
		t.Fatal(err)
	}
	shardtest.WantError(t, s.Put(t.Context(), shardtest.Header(2), nil), shardstore.ErrFailed)
}
