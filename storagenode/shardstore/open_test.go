package shardstore_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/zeebo/xxh3"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

// waitFor polls until ok says yes.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("waited too long")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestValidate(t *testing.T) {
	cases := []struct {
		name string
		cfg  shardstore.Config
		ok   bool
	}{
		{"zero", shardstore.Config{}, true},
		{"small", small, true},
		{"odd segment", shardstore.Config{SegmentSize: 1<<20 + 1}, false},
		{"tiny segment", shardstore.Config{SegmentSize: 4096}, false},
		{"huge segment", shardstore.Config{SegmentSize: 8 << 30}, false},
		{"reserve like a segment", shardstore.Config{SegmentSize: 1 << 20, ReserveBytes: 1 << 20}, false},
		{"odd growth", shardstore.Config{GrowBytes: 1}, false},
	}
	for _, c := range cases {
		if err := c.cfg.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestNewerVersion refuses a segment from the future and leaves everything as it is.
func TestNewerVersion(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, small)
	fill(t, s)
	p, _ := s.Locate(shardtest.Header(0).ID)
	s.Close()
	path := filepath.Join(dir, p.File)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 2048} {
		binary.LittleEndian.PutUint16(b[at+4:], 2)
		binary.LittleEndian.PutUint64(b[at+36:], xxh3.Hash(b[at:at+36]))
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadDir(dir)
	_, err = shardstore.Open(dir, shardstore.Config{Drive: placement.DriveID{1}})
	shardtest.WantError(t, err, shardstore.ErrVersion)
	if after, _ := os.ReadDir(dir); len(after) != len(before) {
		t.Errorf("%d files, were %d", len(after), len(before))
	}
}

// TestLostSegment removes a segment but not its list: that list must not meet a
// new segment of the same number.
func TestLostSegment(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, small)
	fill(t, s)
	tidy(t, s)
	s.Close()
	segments, _ := filepath.Glob(filepath.Join(dir, "seg-????????"))
	for _, name := range segments {
		os.Remove(name)
	}
	s = openAt(t, dir, small)
	fill(t, s)
	s.Close()
	s = openAt(t, dir, small)
	defer s.Close()
	check(t, s)
}

// TestReadsDuringCompaction reads everything all the time while segments are
// copied, emptied and used again.
func TestReadsDuringCompaction(t *testing.T) {
	s := openAt(t, t.TempDir(), small)
	defer s.Close()
	fill(t, s)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := shardtest.Header(n % filled).ID
				if err := s.ReadAt(t.Context(), id, make([]byte, sizeOf(n%filled)), 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for round := range 5 {
		first := 1000 * (round + 1)
		put(t, s, first, first+15, 150000)
		s.Retire()
		if err := s.Delete(t.Context(), ids(first, first+15)); err != nil {
			t.Fatal(err)
		}
		tidy(t, s)
	}
	close(stop)
	wg.Wait()
	check(t, s)
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	cfg := small
	cfg.Registerer = reg
	dir := t.TempDir()
	for range 2 { // a store can be opened again with the same registry
		s := openAt(t, dir, cfg)
		shardtest.Put(t, s, shardtest.Header(1), 100)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]float64{}
		for _, f := range families {
			m := f.GetMetric()[0]
			values[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		if values["kintsugi_shardstore_shards"] != 1 || values["kintsugi_shardstore_free_bytes"] == 0 {
			t.Errorf("got %v", values)
		}
		s.Close()
	}
}
