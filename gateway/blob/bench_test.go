package blob_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/gateway/blob"
	"kintsugi/gateway/blob/blobtest"
	"kintsugi/meta"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// diskCluster has its shards on real stores, six directories of one disk.
type diskCluster struct {
	*blobtest.Cluster
	stores map[placement.DriveID]*shardstore.Store
}

func (c *diskCluster) Drive(id placement.DriveID) blob.Drive {
	if c.Cluster.Drive(id) == nil {
		return nil
	}
	return c.stores[id]
}

func newDiskCluster(b *testing.B) *diskCluster {
	b.Helper()
	c := &diskCluster{blobtest.NewCluster(b, 6, 4, 2), make(map[placement.DriveID]*shardstore.Store)}
	for _, d := range c.Drives {
		s, err := shardstore.Open(b.TempDir(), shardstore.Config{Drive: d.ID})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		c.stores[d.ID] = s
	}
	return c
}

var benchSizes = []struct {
	name string
	size int
}{{"128KiB", 128 << 10}, {"10MiB", 10 << 20}}

// onClusters runs bench over drives in memory and on disk.
func onClusters(b *testing.B, bench func(b *testing.B, s *blob.Store, c *blobtest.Cluster, size int)) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	run := func(b *testing.B, c blob.Cluster, faults *blobtest.Cluster, size int) {
		metrics := prometheus.NewRegistry()
		bench(b, open(b, c, blob.Config{Registerer: metrics}), faults, size)
		b.ReportMetric(total(b, metrics, "kintsugi_blob_read_hedges_total")/float64(b.N), "hedges/op")
	}
	for _, z := range benchSizes {
		b.Run("memory/"+z.name, func(b *testing.B) {
			c := blobtest.NewCluster(b, 6, 4, 2)
			run(b, c, c, z.size)
		})
		b.Run("disk/"+z.name, func(b *testing.B) {
			c := newDiskCluster(b)
			run(b, c, c.Cluster, z.size)
		})
	}
}

// total reads a counter.
func total(t testing.TB, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// BenchmarkWrite writes bodies from eight goroutines and removes them again.
func BenchmarkWrite(b *testing.B) {
	onClusters(b, func(b *testing.B, s *blob.Store, _ *blobtest.Cluster, size int) {
		body := random(size)
		measure(b, size, func() error {
			written, err := s.Write(b.Context(), blobtest.BlobID(), bytes.NewReader(body), int64(size), nil)
			if err != nil {
				return err
			}
			return s.Remove(b.Context(), written)
		})
	})
}

func BenchmarkRead(b *testing.B) {
	onClusters(b, func(b *testing.B, s *blob.Store, _ *blobtest.Cluster, size int) { readMany(b, s, nil, size) })
}

// BenchmarkReadDegraded reads what was written before two of six drives were lost.
func BenchmarkReadDegraded(b *testing.B) {
	onClusters(b, func(b *testing.B, s *blob.Store, c *blobtest.Cluster, size int) { readMany(b, s, c.Drives[:2], size) })
}

func readMany(b *testing.B, s *blob.Store, lost []*blobtest.Drive, size int) {
	var blobs []meta.Blob
	for range 16 {
		blobs = append(blobs, write(b, s, random(size)))
	}
	for _, d := range lost {
		d.SetDown(true)
	}
	var next atomic.Int64
	measure(b, size, func() error {
		i := int(next.Add(1)) % len(blobs)
		r, err := s.Read(b.Context(), blobs[i:i+1], 0, int64(size))
		if err != nil {
			return err
		}
		defer r.Close()
		n, err := r.WriteTo(io.Discard)
		if n != int64(size) {
			return fmt.Errorf("%d bytes: %w", n, err)
		}
		return err
	})
}

// measure runs op from eight goroutines and reports the CPU time of the process per operation.
func measure(b *testing.B, size int, op func() error) {
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.SetParallelism(1) // times GOMAXPROCS
	begun := cpuTime()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := op(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-begun).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
