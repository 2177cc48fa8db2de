package shardstore_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kintsugi/internal/directio"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

// BenchmarkPut measures objects, each a shard on every one of the stores, with
// the CPU that an object costs in user and kernel mode together.
func BenchmarkPut(b *testing.B) {
	for _, c := range []struct{ stores, writers, size int }{
		{1, 1, 1 << 10}, {1, 64, 1 << 10}, {1, 16, 32 << 10}, {1, 16, 2 << 20},
		{6, 1, 1 << 10}, {6, 64, 1 << 10}, {6, 16, 32 << 10}, {6, 16, 2 << 20},
	} {
		b.Run(fmt.Sprintf("stores=%d/writers=%d/size=%d", c.stores, c.writers, c.size), func(b *testing.B) {
			benchPut(b, c.stores, c.writers, c.size)
		})
	}
}

func benchPut(b *testing.B, count, writers, size int) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	stores := make([]*shardstore.Store, count)
	for i := range stores {
		stores[i] = openAt(b, b.TempDir(), shardstore.Config{})
		defer stores[i].Close()
	}
	payload := directio.Buffer(size)
	var next atomic.Int64
	b.SetBytes(int64(size * count))
	begin, cpu := time.Now(), cpuTime()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				putAll(b, stores, shardtest.Header(int(n)), payload)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "obj/s")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-us/obj")
}

// putAll writes the shard to every store at once.
func putAll(b *testing.B, stores []*shardstore.Store, h shardstore.Header, payload []byte) {
	if len(stores) == 1 {
		if err := stores[0].Put(b.Context(), h, payload); err != nil {
			b.Error(err)
		}
		return
	}
	var wg sync.WaitGroup
	for _, s := range stores {
		wg.Go(func() {
			if err := s.Put(b.Context(), h, payload); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

// BenchmarkReadAt reads whole shards that the page cache holds.
func BenchmarkReadAt(b *testing.B) {
	for _, size := range []int{1 << 10, 32 << 10, 2 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			s := openAt(b, b.TempDir(), shardstore.Config{})
			defer s.Close()
			const shards = 64
			p := directio.Buffer(size)
			for n := range shards {
				putAll(b, []*shardstore.Store{s}, shardtest.Header(n), p)
			}
			b.SetBytes(int64(size))
			n := 0
			for b.Loop() {
				if err := s.ReadAt(b.Context(), shardtest.Header(n%shards).ID, p, 0); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}

// BenchmarkOpen measures memory and time of a store with many shards.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	const shards = 100_000
	s := openAt(b, dir, shardstore.Config{})
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for n := w; n < shards; n += 64 {
				putAll(b, []*shardstore.Store{s}, shardtest.Header(n), nil)
			}
		})
	}
	wg.Wait()
	s.Close()
	for b.Loop() {
		before := heap()
		s := openAt(b, dir, shardstore.Config{})
		b.ReportMetric(float64(heap()-before)/shards, "heap-B/shard")
		s.Close()
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// openAt opens a store of the test's drive.
func openAt(t testing.TB, dir string, cfg shardstore.Config) *shardstore.Store {
	t.Helper()
	cfg.Drive = placement.DriveID{1}
	s, err := shardstore.Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
