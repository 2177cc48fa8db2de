package metatest

import (
	"fmt"
	"testing"
	"time"

	"kintsugi/meta"
)

// newLargeBucket returns a client of 8 groups with a bucket of n keys in directories of 100.
func newLargeBucket(b *testing.B, n int) *meta.Client {
	b.Helper()
	direct := NewDirect(b, 8)
	c := meta.NewClient(direct)
	must(b, c.CreateBucket(b.Context(), meta.Bucket{Name: bucket}))
	body := make([]byte, 1000)
	for i := range n {
		p := inline(fmt.Sprintf("dir%05d/file%02d", i/100, i%100), "")
		p.Body, p.Version.Size, p.Version.ETag = body, 1000, "d41d8cd98f00b204e9800998ecf8427e"
		p.Version.Checksum = meta.Checksum{Algorithm: meta.CRC64NVME, Value: make([]byte, 8)}
		p.Version.Headers.ContentType = "binary/octet-stream"
		_, err := c.PutObject(b.Context(), p)
		must(b, err)
	}
	must(b, direct.machine.Sync())
	return c
}

// BenchmarkList lists a bucket of 100,000 keys in pages of 1,000 from end to end.
func BenchmarkList(b *testing.B) {
	const keys = 100_000
	c := newLargeBucket(b, keys)
	for _, delimiter := range []string{"", "/"} {
		b.Run(fmt.Sprintf("delimiter %q", delimiter), func(b *testing.B) {
			entries := 0
			var slowest time.Duration
			for b.Loop() {
				q := meta.ListObjects{Bucket: bucket, Delimiter: delimiter, Max: 1000}
				for {
					start := time.Now()
					page, err := c.Objects(b.Context(), q)
					must(b, err)
					slowest = max(slowest, time.Since(start))
					entries += len(page.Objects) + len(page.Prefixes)
					if q.After = page.Next; !page.Truncated {
						break
					}
				}
			}
			b.ReportMetric(float64(entries)/b.Elapsed().Seconds(), "entries/s")
			b.ReportMetric(float64(keys*b.N)/b.Elapsed().Seconds(), "keys/s")
			b.ReportMetric(float64(slowest.Milliseconds()), "slowest-ms")
		})
	}
}
