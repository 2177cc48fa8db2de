package blob_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/gateway/blob"
	"kintsugi/gateway/blob/blobtest"
	"kintsugi/meta"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// fakeMeta is a deletion queue and a set of live blobs.
type fakeMeta struct {
	mu    sync.Mutex
	queue []meta.Garbage
	live  map[placement.BlobID]bool
	err   error
}

func (m *fakeMeta) Garbage(_ context.Context, group, limit int) ([]meta.Garbage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if group != 1 {
		return nil, m.err
	}
	return append([]meta.Garbage{}, m.queue[:min(limit, len(m.queue))]...), m.err
}

func (m *fakeMeta) Forget(_ context.Context, _ int, sequences []uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var left []meta.Garbage
	for _, g := range m.queue {
		forget := false
		for _, s := range sequences {
			forget = forget || s == g.Sequence
		}
		if !forget {
			left = append(left, g)
		}
	}
	m.queue = left
	return nil
}

func (m *fakeMeta) BlobsLive(_ context.Context, blobs []placement.BlobID) ([]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	live := make([]bool, len(blobs))
	for i, id := range blobs {
		live[i] = m.live[id]
	}
	return live, m.err
}

func (m *fakeMeta) put(b meta.Blob) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, meta.Garbage{Sequence: uint64(len(m.queue) + 1), Blob: b, Queued: time.Now()})
}

func (m *fakeMeta) pending() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue)
}

// removeGarbage runs a Garbage until the function that it returns is called.
func removeGarbage(t *testing.T, s *blob.Store, m *fakeMeta) (stop func()) {
	t.Helper()
	g, err := blob.NewGarbage(s, m, blob.GarbageConfig{Groups: 3})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- g.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestGarbage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := blobtest.NewCluster(t, 6, 4, 2)
		s := open(t, cluster, small())
		m := &fakeMeta{}
		read, unread, narrow := write(t, s, random(500_000)), write(t, s, random(500_000)), meta.Blob{}
		cluster.Drives[1].SetDown(true)
		narrow = write(t, s, random(500_000))
		cluster.Drives[1].SetDown(false)
		r, err := s.Read(t.Context(), []meta.Blob{read}, 0, read.Size)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for _, b := range []meta.Blob{read, unread, narrow, {ID: blobtest.BlobID(), Size: 1}} {
			m.put(b)
		}
		stop := removeGarbage(t, s, m)

		time.Sleep(25 * time.Second)
		if n := m.pending(); n != 4 {
			t.Errorf("%d blobs are pending before the grace is over, want 4", n)
		}
		time.Sleep(15 * time.Second)
		if n := m.pending(); n != 1 {
			t.Errorf("%d blobs are pending, want the one that is being read", n)
		}
		if n := len(cluster.Shards(unread.ID)) + len(cluster.Shards(narrow.ID)); n != 0 {
			t.Errorf("%d shards are left", n)
		}
		if n, err := r.WriteTo(io.Discard); n != read.Size || err != nil {
			t.Errorf("the read that was under way: %d bytes, %v", n, err)
		}
		r.Close()
		cluster.Drives[2].Fail() // a drive that is up and fails: later
		time.Sleep(15 * time.Second)
		if n := m.pending(); n != 1 {
			t.Errorf("%d blobs are pending while a drive fails, want 1", n)
		}
		cluster.Drives[2].SetDown(true)
		time.Sleep(15 * time.Second)
		if n := m.pending(); n != 0 {
			t.Errorf("%d blobs are pending in the end", n)
		}
		stop()
	})
}

// TestGarbageMoves: a drive that becomes home to a shard while its chunk is being deleted, and copies it before that, does not keep it.
func TestGarbageMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := blobtest.NewCluster(t, 6, 4, 2)
		s := open(t, cluster, small())
		b := write(t, s, random(500_000))
		m := &fakeMeta{}
		m.put(b)
		moved := map[shardstore.Header][]byte{}
		for id := range cluster.Shards(b.ID) {
			info, err := cluster.Drives[0].Stat(t.Context(), id)
			if err != nil {
				continue // another drive has it
			}
			moved[info.Header] = make([]byte, info.Size)
			if err := cluster.Drives[0].ReadAt(t.Context(), id, moved[info.Header], 0); err != nil {
				t.Fatal(err)
			}
		}
		fresh := blobtest.NewDrive(placement.DriveID{9, 9, 9})
		cluster.Add(fresh)
		stop := removeGarbage(t, s, m)
		cluster.Drives[1].Slow(0, 10*time.Second)
		time.Sleep(35 * time.Second) // the grace is over, and one drive takes its time

		cluster.Change(t, placement.ReplaceDrive{Old: cluster.Drives[0].ID, New: placement.Drive{ID: fresh.ID, Node: "new", Weight: 1}})
		for h, payload := range moved {
			if err := fresh.Put(t.Context(), h, payload); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if n := len(cluster.Shards(b.ID)); n != 0 || m.pending() != 0 || len(moved) == 0 {
			t.Errorf("%d shards are left of %d that were moved, %d blobs are pending", n, len(moved), m.pending())
		}
		stop()
	})
}

func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := blobtest.NewCluster(t, 6, 4, 2)
		s := open(t, cluster, small())
		live, orphan := write(t, s, random(500_000)), write(t, s, random(500_000))
		m := &fakeMeta{live: map[placement.BlobID]bool{live.ID: true}}
		sweep := blob.NewSweep(s, m, blob.SweepConfig{})
		pass := func() {
			t.Helper()
			if err := sweep.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		pass()
		if n := len(cluster.Shards(orphan.ID)); n != 12 {
			t.Errorf("%d young shards are left, want 12", n)
		}
		time.Sleep(26 * time.Hour)
		young := write(t, s, random(100))
		m.err = meta.ErrUnavailable
		if err := sweep.Pass(t.Context()); !errors.Is(err, meta.ErrUnavailable) {
			t.Errorf("Pass without metadata: %v", err)
		}
		if n := len(cluster.Shards(orphan.ID)); n != 12 {
			t.Errorf("%d shards are left though the metadata did not answer, want 12", n)
		}
		m.err = nil
		cluster.Drives[0].SetDown(true)
		pass()
		cluster.Drives[0].SetDown(false)
		if n := len(cluster.Shards(orphan.ID)); n < 1 || n > 2 {
			t.Errorf("%d orphans are left, want those of the drive that was down", n)
		}
		pass()
		if a, b, c := len(cluster.Shards(orphan.ID)), len(cluster.Shards(live.ID)), len(cluster.Shards(young.ID)); a != 0 || b != 12 || c != 6 {
			t.Errorf("orphan, live and young have %d, %d and %d shards, want 0, 12 and 6", a, b, c)
		}
	})
}

// The sweep finds what it needs at the drives.
var _ blob.Lister = (*shardstore.Memory)(nil)
