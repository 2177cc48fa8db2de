package storagenode

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/placement"
)

// fenceMaps are a map of six drives, and the next one, in which drive 5 is replaced by 9.
func fenceMaps(t *testing.T) (*placement.Map, *placement.Map) {
	var drives []placement.Drive
	for i := range 7 {
		drives = append(drives, placement.Drive{ID: driveID(i), Weight: 1})
	}
	m, err := placement.Birth(placement.ClusterID{1}, 16, 4, 2, drives)
	if err != nil {
		t.Fatal(err)
	}
	next, err := m.With(placement.ReplaceDrive{Old: driveID(5), New: placement.Drive{ID: driveID(9), Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return m, next
}

// split returns a partition whose homes changed and one whose did not.
func split(t *testing.T, m, next *placement.Map) (changed, same uint32) {
	changed, same = 99, 99
	for p := range uint32(m.Partitions) {
		if next.Previous(p) != nil {
			changed = p
		} else {
			same = p
		}
	}
	if changed == 99 || same == 99 {
		t.Fatal("the maps do not tell the partitions apart")
	}
	return changed, same
}

func TestFence(t *testing.T) {
	m, next := fenceMaps(t)
	changed, same := split(t, m, next)
	draining, err := m.With(placement.SetState{ID: driveID(1), State: placement.Draining})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		prepare   func(f *Fence)
		partition uint32
		drive     int
		epoch     uint64
		want      error
		newest    uint64
	}{
		{"no map", func(f *Fence) { f.SetLease(time.Now().Add(time.Hour)) }, same, 1, 1, ErrFenced, 0},
		{"no lease", func(f *Fence) { f.SetMap(m) }, same, 1, 1, ErrFenced, 0},
		{"lease over", func(f *Fence) { f.SetMap(m); f.SetLease(time.Now().Add(-time.Second)) }, same, 1, 1, ErrFenced, 0},
		{"well", func(f *Fence) { leased(f, m) }, same, 1, 1, nil, 0},
		{"homes are other ones now", func(f *Fence) { leased(f, m, next) }, changed, 1, 1, ErrStaleMap, 2},
		{"homes of others changed", func(f *Fence) { leased(f, m, next) }, same, 1, 1, nil, 0},
		{"the newest map", func(f *Fence) { leased(f, m, next) }, changed, 1, 2, nil, 0},
		{"a writer who knows more", func(f *Fence) { leased(f, m) }, changed, 9, 2, nil, 0},
		{"a map that came too late", func(f *Fence) { leased(f, next, m) }, same, 1, 1, ErrStaleMap, 2},
		{"somebody has a newer map", func(f *Fence) { leased(f, m); f.Heard(2) }, same, 1, 1, ErrStaleMap, 2},
		{"somebody has it, and the writer", func(f *Fence) { leased(f, m); f.Heard(2) }, changed, 1, 2, nil, 0},
		{"the map that was heard of came", func(f *Fence) { leased(f, m); f.Heard(2); f.SetMap(next) }, same, 1, 1, nil, 0},
		{"the drive is being drained", func(f *Fence) { leased(f, m, draining) }, same, 1, 2, ErrStaleMap, 2},
		{"the drive is not in the map", func(f *Fence) { leased(f, m) }, same, 9, 1, ErrStaleMap, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := NewFence(nil)
			if err != nil {
				t.Fatal(err)
			}
			c.prepare(f)
			err = f.Admit(c.partition, driveID(c.drive), c.epoch)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			var stale *StaleMapError
			if errors.As(err, &stale) && stale.Epoch != c.newest {
				t.Errorf("epoch %d, want %d", stale.Epoch, c.newest)
			}
		})
	}
}

func leased(f *Fence, maps ...*placement.Map) {
	f.SetLease(time.Now().Add(time.Hour))
	for _, m := range maps {
		f.SetMap(m)
	}
}

func TestFenceLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		f, err := NewFence(registry)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := fenceMaps(t)
		f.SetMap(m)
		f.SetLease(time.Now().Add(2 * time.Second))
		f.SetLease(time.Now().Add(time.Second)) // an answer that comes late shortens nothing
		time.Sleep(2*time.Second - 1)
		if err := f.Admit(0, driveID(1), 1); err != nil || !f.Leased() {
			t.Errorf("within the lease: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := f.Admit(0, driveID(1), 1); !errors.Is(err, ErrFenced) || f.Leased() {
			t.Errorf("after the lease: %v", err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		counted := map[string]float64{}
		for _, m := range families[0].Metric {
			counted[m.Label[0].GetValue()] = m.Counter.GetValue()
		}
		if counted["lease"] != 1 || counted["map"] != 0 {
			t.Errorf("counted %v", counted)
		}
	})
}

func TestFenceDrops(t *testing.T) {
	m, next := fenceMaps(t)
	changed, same := split(t, m, next)
	f, err := NewFence(nil)
	if err != nil {
		t.Fatal(err)
	}
	f.SetMap(m)
	f.SetMap(next)
	ids := map[uint32]placement.ShardID{}
	for n := range uint32(1000) {
		ids[m.Partition(placement.BlobID{}, n)] = placement.ShardID{Chunk: n}
	}
	if err := f.AdmitDrop(1, []placement.ShardID{ids[same]}); err != nil {
		t.Error(err)
	}
	if err := f.AdmitDrop(1, []placement.ShardID{ids[same], ids[changed]}); !errors.Is(err, ErrStaleMap) {
		t.Errorf("dropped under an old map: %v", err)
	}
	if err := f.AdmitDrop(2, []placement.ShardID{ids[changed]}); err != nil {
		t.Error(err)
	}
}

// A map that others have is waited for: until it is there nobody can tell whose writes may pass.
func TestFenceAwaitsTheMap(t *testing.T) {
	m, next := fenceMaps(t)
	_, same := split(t, m, next)
	synctest.Test(t, func(t *testing.T) {
		f, err := NewFence(nil)
		if err != nil {
			t.Fatal(err)
		}
		f.SetMap(m)
		f.SetLease(time.Now().Add(time.Hour))
		f.Heard(next.Epoch)
		began := time.Now()
		time.AfterFunc(100*time.Millisecond, func() { f.SetMap(next) })
		f.Await(t.Context())
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("waited %v", took)
		}
		if err := f.Admit(same, driveID(1), m.Epoch); err != nil {
			t.Errorf("a write to what has not changed: %v", err)
		}
		f.Heard(next.Epoch + 1)
		began = time.Now()
		f.Await(t.Context())
		if took := time.Since(began); took != newsTime {
			t.Errorf("waited %v for a map that does not come", took)
		}
	})
}
