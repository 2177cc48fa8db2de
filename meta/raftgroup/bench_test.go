package raftgroup

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns what the process has used, user and system.
func cpuTime() time.Duration {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchCluster(b *testing.B) *cluster {
	c := newCluster(b, 8, 1, 2, 3, 4, 5)
	c.tune = func(cfg *Config) {
		cfg.SegmentBytes, cfg.LogBytes = 0, 0
		cfg.Machine.(*listMachine).keep = false
	}
	for _, id := range c.first {
		c.open(id)
	}
	c.lead(1)
	return c
}

// BenchmarkPropose commits 4-KiB commands on five hosts that share one disk.
func BenchmarkPropose(b *testing.B) {
	for _, proposers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("proposers=%d", proposers), func(b *testing.B) {
			old := runtime.GOMAXPROCS(8)
			defer runtime.GOMAXPROCS(old)
			c := benchCluster(b)
			data := make([]byte, 4096)
			var next atomic.Int64
			b.SetBytes(4096)
			b.ResetTimer()
			cpu := cpuTime()
			var wg sync.WaitGroup
			for range proposers {
				wg.Go(func() {
					for {
						i := next.Add(1)
						if i > int64(b.N) {
							return
						}
						if _, err := c.hosts[1].Propose(b.Context(), uint32(i%8), data); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-us/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "put/s")
		})
	}
}

func BenchmarkReadBarrier(b *testing.B) {
	c := benchCluster(b)
	ctx := b.Context()
	for b.Loop() {
		if err := c.hosts[1].ReadBarrier(ctx, 3); err != nil {
			b.Fatal(err)
		}
	}
}
