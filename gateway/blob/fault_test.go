package blob_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"kintsugi/gateway/blob"
	"kintsugi/gateway/blob/blobtest"
	"kintsugi/meta"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardstore"
)

// ways in which a drive may be lost.
var ways = map[string]func(*blobtest.Drive){
	"known to be down": func(d *blobtest.Drive) { d.SetDown(true) },
	"failed":           func(d *blobtest.Drive) { d.Fail() },
	"I/O errors":       func(d *blobtest.Drive) { d.Refuse(errors.New("input/output error"), 0) },
	"damaged":          func(d *blobtest.Drive) { d.DamageAll(64) },
	"full":             func(d *blobtest.Drive) { d.SetFull(true) },
}

// TestEveryPairOfDrivesLost writes before and after the loss of two of six drives, every pair in every way.
func TestEveryPairOfDrivesLost(t *testing.T) {
	for way, lose := range ways {
		t.Run(way, func(t *testing.T) {
			for a := range 6 {
				for b := range a {
					cluster := blobtest.NewCluster(t, 6, 4, 2)
					s := open(t, cluster, small())
					bodies := [][]byte{random(100), random(100_000), random(300_000)}
					var blobs []meta.Blob
					for _, body := range bodies {
						blobs = append(blobs, write(t, s, body))
					}
					lose(cluster.Drives[a])
					lose(cluster.Drives[b])
					for i, body := range bodies {
						mustRead(t, s, body, blobs[i])
						mustRead(t, s, body, write(t, s, body))
					}
				}
			}
		})
	}
}

// TestOneDriveLeft is the promise of two drives: either alone is enough to go on.
func TestOneDriveLeft(t *testing.T) {
	for way, lose := range ways {
		if way == "damaged" {
			continue // it still takes writes
		}
		t.Run(way, func(t *testing.T) {
			var hints hints
			cluster := blobtest.NewCluster(t, 2, 1, 1)
			config := small()
			config.Hint = hints.add
			s := open(t, cluster, config)
			body := random(300_000)
			before := write(t, s, body)
			lose(cluster.Drives[1])
			mustRead(t, s, body, before)
			mustRead(t, s, body, write(t, s, body))
			if hints.count() == 0 {
				t.Error("the missing copies were not handed to repair")
			}
		})
	}
}

func TestTooFewDrives(t *testing.T) {
	cluster := blobtest.NewCluster(t, 6, 4, 2)
	s := open(t, cluster, small())
	body := random(100_000)
	b := write(t, s, body)
	for _, d := range cluster.Drives[:3] {
		d.SetDown(true)
	}
	if _, err := read(s, 0, b.Size, b); !errors.Is(err, blob.ErrUnreadable) {
		t.Errorf("read with three of six drives: %v, want ErrUnreadable", err)
	}
	mustRead(t, s, body, write(t, s, body)) // 1+2 on the three that are left
	for _, d := range cluster.Drives[3:5] {
		d.SetDown(true)
	}
	if _, err := s.Write(t.Context(), blobtest.BlobID(), bytes.NewReader(body), int64(len(body)), nil); !errors.Is(err, blob.ErrTooFewDrives) {
		t.Errorf("write with one of six drives: %v, want ErrTooFewDrives", err)
	}
	for _, d := range cluster.Drives {
		d.SetDown(false)
	}
	mustRead(t, s, body, b)
}

// TestDrivesLostWhileWriting loses one or two drives at some shard of a body of many chunks.
func TestDrivesLostWhileWriting(t *testing.T) {
	for after := range 12 {
		for _, lost := range [][]int{{1}, {0, 5}, {2, 3}} {
			t.Run(fmt.Sprintf("drives %v after %d shards", lost, after), func(t *testing.T) {
				cluster := blobtest.NewCluster(t, 6, 4, 2)
				config := small()
				config.ChunkSize, config.MinChunkSize = 64<<10, 64<<10
				s := open(t, cluster, config)
				for i, d := range lost {
					cluster.Drives[d].Refuse(shardstore.ErrFailed, after+i)
				}
				body := random(800_000)
				b := write(t, s, body)
				mustRead(t, s, body, b)
				for _, d := range lost {
					cluster.Drives[d].SetDown(true)
				}
				mustRead(t, s, body, b)
				if err := s.Remove(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				for id := range cluster.Shards(b.ID) {
					for _, d := range cluster.Drives {
						if err := d.ReadAt(t.Context(), id, make([]byte, 1), 0); err == nil && cluster.Drive(d.ID) != nil {
							t.Errorf("shard %v is left on a drive that was up", id)
						}
					}
				}
			})
		}
	}
}

func TestDrivesLostWhileReading(t *testing.T) {
	cluster := blobtest.NewCluster(t, 6, 4, 2)
	s := open(t, cluster, small())
	body := random(3_000_000)
	b := write(t, s, body)
	for after := range 12 {
		for i, d := range []int{after % 6, (after*5 + 1) % 6} {
			cluster.Drives[d].Refuse(shardstore.ErrFailed, after+i)
		}
		mustRead(t, s, body, b)
		for _, d := range cluster.Drives {
			d.Refuse(nil, 0)
		}
	}
}

// TestNeverShort lets more drives die than can be made up for, in the middle of a read.
func TestNeverShort(t *testing.T) {
	cluster := blobtest.NewCluster(t, 6, 4, 2)
	s := open(t, cluster, small())
	body := random(3_000_000)
	r, err := s.Read(t.Context(), []meta.Blob{write(t, s, body)}, 0, int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, d := range cluster.Drives[:3] {
		d.SetDown(true)
	}
	var out bytes.Buffer
	n, err := r.WriteTo(&out)
	if !errors.Is(err, blob.ErrUnreadable) || n != int64(out.Len()) || !bytes.Equal(out.Bytes(), body[:n]) {
		t.Errorf("WriteTo: %d bytes of %d, %v", n, len(body), err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, blob.ErrUnreadable) {
		t.Errorf("Read after the failure: %d, %v: fasthttp would take it for the end", n, err)
	}
}

// TestRandomLosses: whatever is lost of at most m drives, every range is right.
func TestRandomLosses(t *testing.T) {
	codes := []struct{ drives, k, m int }{{1, 1, 0}, {2, 1, 1}, {3, 2, 1}, {4, 2, 2}, {5, 3, 2}, {6, 4, 2}, {10, 4, 2}, {13, 8, 4}}
	names := []string{"known to be down", "failed", "I/O errors", "damaged", "full"}
	rapid.Check(t, func(r *rapid.T) {
		code := rapid.SampledFrom(codes).Draw(r, "code")
		cluster := blobtest.NewCluster(t, code.drives, code.k, code.m)
		s, err := blob.New(small(), cluster)
		if err != nil {
			r.Fatal(err)
		}
		defer s.Close()
		size := rapid.IntRange(0, 1_000_000).Draw(r, "size")
		body := random(size)
		lost := rapid.Permutation(cluster.Drives).Draw(r, "drives")[:rapid.IntRange(0, code.m).Draw(r, "lost")]
		before := rapid.Bool().Draw(r, "lost before the write")
		lose := func() {
			for i, d := range lost {
				ways[rapid.SampledFrom(names).Draw(r, fmt.Sprint("way", i))](d)
			}
		}
		if before {
			lose()
		}
		b, err := s.Write(t.Context(), blobtest.BlobID(), bytes.NewReader(body), int64(size), io.Discard)
		if err != nil {
			r.Fatal(err)
		}
		if !before {
			lose()
		}
		off := rapid.IntRange(0, size).Draw(r, "off")
		n := rapid.IntRange(0, size-off).Draw(r, "n")
		got, err := read(s, int64(off), int64(n), b)
		if err != nil || !bytes.Equal(got, body[off:off+n]) {
			r.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}

// TestMovedShards: a chunk is found at its homes of before a transition, and on substitutes.
func TestMovedShards(t *testing.T) {
	cluster := blobtest.NewCluster(t, 7, 4, 2)
	s := open(t, cluster, small())
	body := random(900_000)
	before := write(t, s, body)
	cluster.Drives[3].SetDown(true)
	substituted := write(t, s, body)
	if k := substituted.Runs[0].K; k != 4 {
		t.Errorf("six drives are up, yet k is %d", k)
	}
	cluster.Drives[3].SetDown(false)

	fresh := blobtest.NewDrive(placement.DriveID{9, 9, 9})
	cluster.Add(fresh)
	cluster.Change(t, placement.AddDrive{Drive: placement.Drive{ID: fresh.ID, Node: "new", Weight: 1}})
	cluster.Change(t, placement.SetState{ID: cluster.Drives[0].ID, State: placement.Draining})
	mustRead(t, s, body, before)
	mustRead(t, s, body, substituted)
	mustRead(t, s, body, write(t, s, body))
}

// TestStaleMap: drives that know a newer map refuse a write; it is made again under that map, by the same drives.
func TestStaleMap(t *testing.T) {
	cluster := blobtest.NewCluster(t, 6, 4, 2)
	s := open(t, cluster, small())
	newest := cluster.Map().Epoch + 1
	for _, d := range cluster.Drives {
		d.Refuse(fmt.Errorf("refused: %w", &storagenode.StaleMapError{Epoch: newest}), 0)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		for _, d := range cluster.Drives {
			d.Refuse(nil, 0)
		}
		cluster.Change(t, placement.SetWeight{ID: cluster.Drives[0].ID, Weight: 1})
	}()
	body := random(300_000)
	b := write(t, s, body)
	if r := b.Runs[0]; r.K != 4 || r.Attempt == 0 {
		t.Errorf("written as %+v", r)
	}
	mustRead(t, s, body, b)
	if reads, writes := s.OpenBreakers(); reads+writes > 0 {
		t.Errorf("%d drives are shunned", reads+writes)
	}
}

// TestLeasesAreAwaited: no storage node has a lease while the cluster gets another coordinator. That is no reason to fail a write.
func TestLeasesAreAwaited(t *testing.T) {
	cluster := blobtest.NewCluster(t, 6, 4, 2)
	s := open(t, cluster, small())
	for _, d := range cluster.Drives {
		d.Refuse(storagenode.ErrFenced, 0)
	}
	go func() {
		time.Sleep(600 * time.Millisecond)
		for _, d := range cluster.Drives {
			d.Refuse(nil, 0)
		}
	}()
	body := random(100_000)
	b := write(t, s, body)
	if r := b.Runs[0]; r.K != 4 {
		t.Errorf("written as %+v", r)
	}
	mustRead(t, s, body, b)
}

// A node without a lease among others that have one is stood in for.
func TestFencedDriveIsStoodInFor(t *testing.T) {
	cluster := blobtest.NewCluster(t, 7, 4, 2)
	s := open(t, cluster, small())
	cluster.Drives[2].Refuse(storagenode.ErrFenced, 0)
	body := random(900_000)
	b := write(t, s, body)
	if r := b.Runs[0]; r.K != 4 || r.Attempt > 0 {
		t.Errorf("written as %+v", r)
	}
	cluster.Drives[2].Refuse(nil, 0)
	mustRead(t, s, body, b)
}

// hints collects what was handed to repair.
type hints struct {
	mu  sync.Mutex
	ids []placement.ShardID
}

func (h *hints) add(id placement.ShardID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids = append(h.ids, id)
}

func (h *hints) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ids)
}

// TestMetrics: what was done for a client without its noticing is told to the operator.
func TestMetrics(t *testing.T) {
	cluster := blobtest.NewCluster(t, 6, 4, 2)
	metrics := prometheus.NewRegistry()
	config := small()
	config.Registerer = metrics
	s := open(t, cluster, config)
	body := random(600_000)
	b := write(t, s, body)
	cluster.Drives[0].DamageAll(64)
	cluster.Drives[1].SetDown(true)
	mustRead(t, s, body, b)
	write(t, s, body)
	for _, name := range []string{
		"chunks_written_total", "bytes_written_total", "windows_read_total", "bytes_read_total",
		"degraded_reads_total", "shards_reconstructed_total", "shards_corrupt_total", "narrow_chunks_total",
	} {
		if total(t, metrics, "kintsugi_blob_"+name) == 0 {
			t.Errorf("%s is 0", name)
		}
	}
	if _, err := blob.New(config, cluster); err == nil {
		t.Error("a second Store may not count into the same metrics")
	}
}

func TestCancelledWrite(t *testing.T) {
	cluster := blobtest.NewCluster(t, 6, 4, 2)
	s := open(t, cluster, small())
	for _, d := range cluster.Drives {
		d.Hang(false, true)
	}
	ctx, cancel := contextThatEnds(t)
	id := blobtest.BlobID()
	done := make(chan error)
	go func() {
		_, err := s.Write(ctx, id, bytes.NewReader(random(600_000)), 600_000, io.Discard)
		done <- err
	}()
	eventually(t, func() bool { return cluster.Drives[5].Puts.Load() > 0 }, "the write reached the drives")
	cancel()
	if err := <-done; !errors.Is(err, ctx.Err()) {
		t.Errorf("Write: %v", err)
	}
	for _, d := range cluster.Drives {
		d.Resume()
	}
	eventually(t, func() bool { return len(cluster.Shards(id)) == 0 }, "nothing is left of it")
	write(t, s, random(1000)) // nobody is suspect for it
}

// TestConcurrent has many writers and readers share little memory while drives come and go.
func TestConcurrent(t *testing.T) {
	cluster := blobtest.NewCluster(t, 8, 4, 2)
	config := small()
	config.WriteMemory, config.ScratchMemory, config.ReadMemory = 1<<20, 1<<20, 512<<10
	s := open(t, cluster, config)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var flapping sync.WaitGroup
	flapping.Go(func() {
		for i := 0; ; i++ {
			cluster.Drives[i*5%8].Slow(time.Duration(i%3)*6*time.Millisecond, 0)
			a, b := cluster.Drives[i%8], cluster.Drives[(i*3+1)%8]
			a.SetDown(true)
			b.SetDown(true)
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			a.SetDown(false)
			b.SetDown(false)
		}
	})
	for range 16 {
		wg.Go(func() {
			for range 4 {
				body := random(rand.IntN(800_000))
				b, err := s.Write(t.Context(), blobtest.BlobID(), bytes.NewReader(body), int64(len(body)), io.Discard)
				if err != nil {
					t.Errorf("Write: %v", err)
					return
				}
				for range 2 {
					if got, err := read(s, 0, b.Size, b); err != nil || !bytes.Equal(got, body) {
						t.Errorf("read %d of %d bytes, %v", len(got), len(body), err)
					}
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	flapping.Wait()
	eventually(t, func() bool { return s.Hung() == 0 }, "every call that was given up has returned")
}
