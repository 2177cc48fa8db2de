package bench

import (
	"math/bits"
	"time"
)

// A histogram has exact buckets up to 128 ns and from there 64 buckets per
// power of two, so that a quantile is at most 1.6 % above the true value.
// It reaches to 2^42 ns, 73 minutes; what is longer counts as that.
const (
	subBits     = 6
	subBuckets  = 1 << subBits
	maxExponent = 42
	bucketCount = (maxExponent - subBits + 1) * subBuckets
)

// histogram counts latencies. The zero value is empty and ready to use.
type histogram struct {
	counts [bucketCount]uint64
	total  uint64
	sum    time.Duration
	max    time.Duration
}

// bucketOf returns the bucket of a latency in nanoseconds.
func bucketOf(ns uint64) int {
	if ns < 2*subBuckets {
		return int(ns)
	}
	shift := bits.Len64(ns) - subBits - 1
	return min(shift<<subBits+int(ns>>shift), bucketCount-1)
}

// bucketTop returns the largest latency in nanoseconds that bucket i counts.
func bucketTop(i int) uint64 {
	if i < 2*subBuckets {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return (uint64(i-shift<<subBits)+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.total++
	h.sum += d
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// quantile returns the latency that the share q of all requests, 0 to 1, did not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := min(uint64(q*float64(h.total)), h.total-1)
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if seen > rank {
			return min(time.Duration(bucketTop(i)), h.max)
		}
	}
	return h.max
}

func (h *histogram) mean() time.Duration {
	if h.total == 0 {
		return 0
	}
	return h.sum / time.Duration(h.total)
}
