package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBucketsCoverEveryLatency(t *testing.T) {
	var last uint64
	for i := 1; i < bucketCount; i++ {
		top := bucketTop(i)
		if top <= last || bucketOf(top) != i || bucketOf(last+1) != i {
			t.Fatalf("bucket %d: top %d after %d, of(top) %d, of(bottom) %d", i, top, last, bucketOf(top), bucketOf(last+1))
		}
		last = top
	}
	if got := bucketOf(math.MaxInt64); got != bucketCount-1 {
		t.Errorf("the longest latency is in bucket %d, want the last", got)
	}
}

func TestQuantilesAreClose(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var a, b histogram
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(math.Exp(random.NormFloat64()*2+13)) + 1
		all = append(all, d)
		if random.IntN(2) == 0 {
			a.add(d)
		} else {
			b.add(d)
		}
	}
	a.merge(&b)
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		if got := a.quantile(q); got < want || float64(got) > float64(want)*1.017 {
			t.Errorf("quantile %v: got %v, want %v to 1.6 %% more", q, got, want)
		}
	}
}

func TestEmptyHistogram(t *testing.T) {
	var h histogram
	if h.quantile(0.5) != 0 || h.mean() != 0 {
		t.Error("an empty histogram has latencies")
	}
}
