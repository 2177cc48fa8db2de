package blob

import (
	"context"
	"fmt"
	"testing"
	"time"

	"kintsugi/storagenode/shardstore"
)

func TestBreaker(t *testing.T) {
	now := time.Unix(0, 0)
	b := newBreaker(Config{}.withDefaults(), 50*time.Millisecond)
	expect := func(what string, want bool) {
		t.Helper()
		if got := b.allow(now); got != want {
			t.Errorf("%s: allow is %v", what, got)
		}
	}
	expect("new", true)
	b.failure(now)
	b.failure(now)
	expect("two failures", true)
	b.success()
	b.failure(now)
	b.failure(now)
	expect("two after a success", true)
	b.failure(now)
	expect("three", false)
	b.failure(now) // of a request sent before: does not lengthen the pause
	now = now.Add(time.Second)
	expect("the pause is over: one probe", true)
	expect("a second probe", false)
	b.failure(now)
	now = now.Add(time.Second)
	expect("the next pause is twice as long", false)
	now = now.Add(time.Second)
	expect("and over", true)
	b.success()
	expect("the probe went well", true)

	b.abandon(now)
	expect("a call was given up just now", true)
	now = now.Add(time.Second)
	expect("it hangs", false)
	b.abandon(now)
	b.returned(now, true)
	now = now.Add(time.Hour)
	expect("for an hour", false)
	b.returned(now, true)
	expect("it returned, one failure", true)
	if !b.open() && b.closed.Load() {
		t.Error("a failure is forgotten")
	}
	b.success()
	if !b.closed.Load() {
		t.Error("a success does not close it")
	}
	for range 20 { // the pause is bounded
		b.trip(now)
		now = now.Add(30 * time.Second)
		expect("a probe every 30 s", true)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		err      error
		failures int
	}{
		{nil, 0}, {shardstore.ErrNotFound, 0}, {shardstore.ErrCorrupt, 0}, {shardstore.ErrDeleted, 0}, {shardstore.ErrRange, 0},
		{context.Canceled, 1}, {context.DeadlineExceeded, 2}, {fmt.Errorf("x: %w", shardstore.ErrFailed), 3}, {shardstore.ErrFull, 3},
	} {
		b := newBreaker(Config{}.withDefaults(), 0)
		b.failure(time.Now())
		judge(b, c.err)
		if b.failures != c.failures {
			t.Errorf("%v: %d failures, want %d", c.err, b.failures, c.failures)
		}
	}
}

func TestQuantile(t *testing.T) {
	var q quantile
	for i := range 20_000 {
		q.observe(time.Duration(i*7919%1000) * time.Microsecond) // evenly spread over 0..1 ms
	}
	if v := q.value(); v < 800*time.Microsecond || v > 1100*time.Microsecond {
		t.Errorf("the 95th percentile of 0..1 ms is %v", v)
	}
}

func TestHedgeBudget(t *testing.T) {
	var b budget
	burst := 0
	for b.spend() {
		burst++
	}
	spent := 0
	for range 1000 {
		b.earn()
		if b.spend() {
			spent++
		}
	}
	if burst < 60 || burst > 70 || spent < 25 || spent > 35 {
		t.Errorf("a burst of %d, then %d hedges in 1000 fetches; want about 64 and 30", burst, spent)
	}
}
