package shardstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

// diskBytes is what the files in dir take on the disk.
func diskBytes(t *testing.T, dir string) int64 {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, n := range names {
		info, err := n.Info()
		if err != nil {
			continue
		}
		sum += info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	return sum
}

func ids(from, to int) []placement.ShardID {
	var list []placement.ShardID
	for n := from; n < to; n++ {
		list = append(list, shardtest.Header(n).ID)
	}
	return list
}

func tidy(t *testing.T, s *shardstore.Store) {
	t.Helper()
	if err := s.Tidy(); err != nil {
		t.Fatal(err)
	}
}

// TestSpaceComesBack deletes most of what was written, of several sizes.
func TestSpaceComesBack(t *testing.T) {
	for _, size := range []int{500, 20000, 150000} {
		dir := t.TempDir()
		cfg := small
		s := openAt(t, dir, cfg)
		count := min(8<<20/size, 4000)
		put(t, s, 0, count, size)
		written := int64(count * size)
		before := diskBytes(t, dir)
		const keep = 10
		if err := s.Delete(t.Context(), ids(keep, count)); err != nil {
			t.Fatal(err)
		}
		s.Retire()
		for range 3 {
			tidy(t, s)
		}
		after := diskBytes(t, dir)
		// What stays: the shards, the tombstones, the active segment, a spare one.
		if before < written || after > before/2 && after > 4<<20 {
			t.Errorf("size %d: %d bytes before, %d after", size, before, after)
		}
		for range 2 {
			for n := range keep {
				shardtest.Want(t, s, shardtest.Header(n).ID, size)
			}
			for _, n := range []int{keep, count / 2, count - 1} {
				shardtest.WantError(t, s.Put(t.Context(), shardtest.Header(n), nil), shardstore.ErrDeleted)
			}
			s.Close()
			s = openAt(t, dir, cfg)
		}
		s.Close()
	}
}

// put writes shards from to to-1, many at a time.
func put(t *testing.T, s *shardstore.Store, from, to, size int) {
	t.Helper()
	work := make(chan int)
	done := make(chan error, 16)
	for range 16 {
		go func() {
			var first error
			for n := range work {
				h := shardtest.Header(n)
				if err := s.Put(t.Context(), h, shardtest.Payload(h.ID, size)); err != nil && first == nil {
					first = err
				}
			}
			done <- first
		}()
	}
	for n := from; n < to; n++ {
		work <- n
	}
	close(work)
	for range 16 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// TestTombstonesExpire checks that a tombstone stays for as long as its shard
// could be found again, and then goes.
func TestTombstonesExpire(t *testing.T) {
	dir := t.TempDir()
	cfg := small
	cfg.TombstoneAge = time.Nanosecond
	s := openAt(t, dir, cfg)
	fill(t, s)
	victim := shardtest.Header(2)
	if err := s.Delete(t.Context(), []placement.ShardID{victim.ID}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // its segment is mostly needed and keeps the dead copy
		tidy(t, s)
		s.Close()
		s = openAt(t, dir, cfg)
		if s.Forgotten(victim.ID) {
			t.Fatal("tombstone gone while a scan would find the shard")
		}
	}
	if err := s.Delete(t.Context(), ids(0, filled)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // tombstones count in seconds
	s.Retire()
	for range 4 {
		tidy(t, s)
	}
	s.Close()
	s = openAt(t, dir, cfg)
	defer s.Close()
	if u := s.Usage(); u.Tombstones != 0 || u.Shards != 0 {
		t.Fatalf("Usage = %+v", u)
	}
	shardtest.Put(t, s, victim, 100)
	shardtest.Want(t, s, victim.ID, 100)
}

// TestDropIsNotUndone checks that dropped shards do not come back, and that
// shards written again after a drop do.
func TestDropIsNotUndone(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, small)
	fill(t, s)
	if err := s.Drop(t.Context(), ids(0, 4)); err != nil {
		t.Fatal(err)
	}
	mend(t, s, 1)
	for i := range 4 {
		if i == 2 {
			s.Close()
			removeHints(t, dir)
			s = openAt(t, dir, small)
		} else {
			tidy(t, s)
		}
		check(t, s, 0, 2, 3)
	}
	s.Close()
}

// TestCrumbs kills nothing but makes many short segments: they are copied together.
func TestCrumbs(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, small)
	defer s.Close()
	for n := range 12 {
		shardtest.Put(t, s, shardtest.Header(n), sizeOf(n)/4)
		s.Retire()
		if n < 11 {
			tidy(t, s)
		}
	}
	tidy(t, s)
	if u := s.Usage(); u.Segments > 11 {
		t.Errorf("%d segments", u.Segments)
	}
	for n := range 12 {
		shardtest.Want(t, s, shardtest.Header(n).ID, sizeOf(n)/4)
	}
}

// TestFullDrive fills a small filesystem: writes are refused, reads and deletes
// work, and after the deletes writes do.
func TestFullDrive(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	fullDrive(t, filepath.Join(dir, "shards"), small)
}

// TestNoSpaceToAllocate is TestFullDrive where nothing can be mounted.
func TestNoSpaceToAllocate(t *testing.T) {
	var d shardstore.FaultyDisk
	s := openAt(t, t.TempDir(), small.WithDisk(&d))
	defer s.Close()
	fill(t, s)
	d.Set("allocate", func() error { return unix.ENOSPC })
	last := fillUp(t, s, 50000)
	check(t, s)
	if err := s.Delete(t.Context(), ids(0, filled)); err != nil {
		t.Fatal(err)
	}
	d.Set("allocate", nil)
	shardtest.Put(t, s, shardtest.Header(last), 50000)
}

func fullDrive(t *testing.T, dir string, cfg shardstore.Config) {
	s := openAt(t, dir, cfg)
	defer func() { s.Close() }()
	last := fillUp(t, s, 50000)
	if !s.Usage().Full {
		t.Error("not said to be full")
	}
	if last < 150 {
		t.Errorf("full after %d shards of 50 kB", last)
	}
	for n := range last {
		shardtest.Want(t, s, shardtest.Header(n).ID, 50000)
	}
	s.Close()
	s = openAt(t, dir, cfg) // a full drive opens
	shardtest.Want(t, s, shardtest.Header(1).ID, 50000)
	if err := s.Delete(t.Context(), ids(0, last/2)); err != nil {
		t.Fatalf("delete on a full drive: %v", err)
	}
	shardtest.WantError(t, s.ReadAt(t.Context(), shardtest.Header(1).ID, nil, 0), shardstore.ErrNotFound)
	for range 3 {
		if err := s.Tidy(); err != nil && !errors.Is(err, shardstore.ErrFull) {
			t.Fatal(err)
		}
	}
	put(t, s, 1000, 1000+last/4, 50000)
	for n := last/2 + 1; n < last; n++ {
		shardtest.Want(t, s, shardtest.Header(n).ID, 50000)
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
}

// fillUp writes until the store is full and returns the first number that it refused.
func fillUp(t *testing.T, s *shardstore.Store, size int) int {
	t.Helper()
	for n := range 10000 {
		h := shardtest.Header(n)
		err := s.Put(t.Context(), h, shardtest.Payload(h.ID, size))
		if errors.Is(err, shardstore.ErrFull) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("never full")
	return 0
}
