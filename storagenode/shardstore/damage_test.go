package shardstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

// small makes many segments out of little data, and leaves tidying to the test.
var small = shardstore.Config{
	SegmentSize: 1 << 20, GrowBytes: 256 << 10, MinFreeBytes: -1,
	TidyInterval: time.Hour, CompactBytesPerSecond: 1 << 30,
}

// sizeOf is the payload size of shard n: packed and direct ones in turn.
func sizeOf(n int) int { return []int{100, 5000, 30000, 70000, 131072, 200001}[n%6] }

const filled = 24

// fill writes shards 0 to filled-1 over several segments.
func fill(t *testing.T, s *shardstore.Store) {
	t.Helper()
	for n := range filled {
		shardtest.Put(t, s, shardtest.Header(n), sizeOf(n))
	}
}

// check reads every shard but those whose numbers are lost; these must not be readable.
func check(t *testing.T, s *shardstore.Store, lost ...int) {
	t.Helper()
	gone := map[int]bool{}
	for _, n := range lost {
		gone[n] = true
	}
	for n := range filled {
		id := shardtest.Header(n).ID
		if !gone[n] {
			shardtest.Want(t, s, id, sizeOf(n))
			continue
		}
		err := s.ReadAt(t.Context(), id, make([]byte, sizeOf(n)), 0)
		if !errors.Is(err, shardstore.ErrCorrupt) && !errors.Is(err, shardstore.ErrNotFound) {
			t.Fatalf("damaged shard %d: %v", n, err)
		}
	}
}

// TestFlippedBits damages one shard in each of its parts, while the store runs,
// while it is closed, and while it is closed and its lists are lost.
func TestFlippedBits(t *testing.T) {
	parts := []struct {
		name string
		at   func(shardstore.Place) int64
	}{
		{"magic", func(p shardstore.Place) int64 { return p.Header }},
		{"blob id", func(p shardstore.Place) int64 { return p.Header + 10 }},
		{"size", func(p shardstore.Place) int64 { return p.Header + 49 }},
		{"generation", func(p shardstore.Place) int64 { return p.Header + 72 }},
		{"table", func(p shardstore.Place) int64 { return p.Header + 130 }},
		{"first byte", func(p shardstore.Place) int64 { return p.Payload }},
		{"last byte", func(p shardstore.Place) int64 { return p.Payload + 4999 }},
	}
	for _, part := range parts {
		for _, hit := range []int{1, 5} {
			t.Run(part.name, func(t *testing.T) {
				dir := t.TempDir()
				s := openAt(t, dir, small)
				fill(t, s)
				place, _ := s.Locate(shardtest.Header(hit).ID)
				shardtest.Flip(t, filepath.Join(dir, place.File), part.at(place))
				check(t, s, hit)
				mend(t, s, hit)
				check(t, s)
				place, _ = s.Locate(shardtest.Header(hit).ID)
				if err := s.Tidy(); err != nil {
					t.Fatal(err)
				}
				s.Close()
				shardtest.Flip(t, filepath.Join(dir, place.File), part.at(place))
				s = openAt(t, dir, small)
				check(t, s, hit)
				s.Close()
				removeHints(t, dir)
				s = openAt(t, dir, small)
				defer s.Close()
				check(t, s, hit)
				mend(t, s, hit)
				check(t, s)
			})
		}
	}
}

// mend writes a damaged shard anew.
func mend(t *testing.T, s *shardstore.Store, n int) {
	t.Helper()
	shardtest.Put(t, s, shardtest.Header(n), sizeOf(n))
}

// removeHints removes all lists; a store that has not written anything has none.
func removeHints(t *testing.T, dir string) {
	t.Helper()
	hints, _ := filepath.Glob(filepath.Join(dir, "*.hint"))
	for _, h := range hints {
		if err := os.Remove(h); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedFiles damages what is not a record. It costs nothing.
func TestDamagedFiles(t *testing.T) {
	cases := []struct {
		name   string
		damage func(t *testing.T, segment, hint string)
	}{
		{"first copy of the head", func(t *testing.T, segment, _ string) { shardtest.Flip(t, segment, 9) }},
		{"both copies of the head", func(t *testing.T, segment, _ string) { shardtest.Flip(t, segment, 9); shardtest.Flip(t, segment, 2048) }},
		{"list entry", func(t *testing.T, _, hint string) { shardtest.Flip(t, hint, 100) }},
		{"list head", func(t *testing.T, _, hint string) { shardtest.Flip(t, hint, 3) }},
		{"list cut", func(t *testing.T, _, hint string) { truncate(t, hint, 128) }},
		{"list empty", func(t *testing.T, _, hint string) { truncate(t, hint, 0) }},
		{"list lost", func(t *testing.T, _, hint string) { os.Remove(hint) }},
		{"list of another segment", func(t *testing.T, _, hint string) {
			hints, _ := filepath.Glob(filepath.Join(filepath.Dir(hint), "*.hint"))
			b, err := os.ReadFile(hints[0])
			if hints[0] == hint {
				b, err = os.ReadFile(hints[1])
			}
			if err != nil || os.WriteFile(hint, b, 0o600) != nil {
				t.Fatal("cannot copy")
			}
		}},
	}
	for _, c := range cases {
		for _, target := range []int{0, filled - 1} { // in the oldest segment, in the active one
			t.Run(c.name, func(t *testing.T) {
				dir := t.TempDir()
				s := openAt(t, dir, small)
				fill(t, s)
				place, _ := s.Locate(shardtest.Header(target).ID)
				if err := s.Tidy(); err != nil {
					t.Fatal(err)
				}
				s.Close()
				path := filepath.Join(dir, place.File)
				c.damage(t, path, path+".hint")
				for range 2 {
					s = openAt(t, dir, small)
					check(t, s)
					shardtest.Put(t, s, shardtest.Header(filled+1), 100)
					s.Close()
				}
			})
		}
	}
}

func truncate(t *testing.T, path string, n int64) {
	t.Helper()
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}

// TestTornTail cuts the active segment within its last record, and a sealed one.
func TestTornTail(t *testing.T) {
	for _, victim := range []int{filled - 1, 3} {
		dir := t.TempDir()
		s := openAt(t, dir, small)
		fill(t, s)
		place, _ := s.Locate(shardtest.Header(victim).ID)
		var lost []int
		for n := range filled {
			if p, _ := s.Locate(shardtest.Header(n).ID); p.File == place.File && p.Header >= place.Header {
				lost = append(lost, n)
			}
		}
		s.Close()
		removeHints(t, dir)
		truncate(t, filepath.Join(dir, place.File), place.Payload+50)
		for range 2 {
			s = openAt(t, dir, small)
			check(t, s, lost...)
			s.Close()
		}
		s = openAt(t, dir, small)
		for _, n := range lost {
			mend(t, s, n)
		}
		check(t, s)
		s.Close()
	}
}

// TestMisdirectedWrite copies a record over another one, and to free space.
func TestMisdirectedWrite(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, small)
	fill(t, s)
	from, _ := s.Locate(shardtest.Header(4).ID)
	to, _ := s.Locate(shardtest.Header(10).ID) // of the same size
	s.Close()
	b, err := os.ReadFile(filepath.Join(dir, from.File))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, to.File), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b[from.Header:from.Header+from.Bytes], to.Header); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s = openAt(t, dir, small)
	check(t, s, 10)
	s.Close()
	removeHints(t, dir)
	s = openAt(t, dir, small)
	defer s.Close()
	check(t, s, 10)
}

func TestForeignSegment(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, small)
	fill(t, s)
	s.Close()
	cfg := small
	cfg.Drive = placement.DriveID{2}
	_, err := shardstore.Open(dir, cfg)
	shardtest.WantError(t, err, shardstore.ErrForeign)
	s = openAt(t, dir, small)
	defer s.Close()
	check(t, s)
}

func TestScrubFindsDamage(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, small)
	defer s.Close()
	fill(t, s)
	damaged := map[placement.ShardID]bool{}
	for _, n := range []int{0, 9, 15} {
		p, _ := s.Locate(shardtest.Header(n).ID)
		shardtest.Flip(t, filepath.Join(dir, p.File), p.Payload+1)
		damaged[shardtest.Header(n).ID] = true
	}
	for range 2 { // what is known to be damaged is told again
		found := map[placement.ShardID]bool{}
		err := s.Scrub(t.Context(), 0, func(id placement.ShardID, err error) {
			shardtest.WantError(t, err, shardstore.ErrCorrupt)
			found[id] = true
		})
		if err != nil {
			t.Fatal(err)
		}
		for id := range damaged {
			if !found[id] {
				t.Errorf("%v not found", id)
			}
		}
		if len(found) != len(damaged) {
			t.Errorf("found %d, want %d", len(found), len(damaged))
		}
	}
	if u := s.Usage(); u.Corrupt != 3 || u.Shards != filled-3 {
		t.Errorf("Usage = %+v", u)
	}
	for _, n := range []int{0, 9, 15} {
		mend(t, s, n)
	}
	check(t, s)
}

func TestScrubKeepsItsRate(t *testing.T) {
	s := openAt(t, t.TempDir(), small)
	defer s.Close()
	fill(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := s.Scrub(ctx, 1000, func(placement.ShardID, error) {})
	shardtest.WantError(t, err, context.DeadlineExceeded)
}
