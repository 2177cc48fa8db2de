package blob

import (
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	const ms = time.Millisecond
	newRound := func(slots, need, k int) *tally {
		r := newTally(slots, need, k)
		for i := range slots {
			r.sent(i)
		}
		return &r
	}
	durable := func(r *tally, n int) {
		for i := range n {
			r.answered(i, false, true, ms)
		}
	}
	for _, c := range []struct {
		name   string
		round  func() *tally
		gaveUp bool
		want   outcome
	}{
		{"nothing came", func() *tally { return newRound(6, 5, 4) }, false, waiting},
		{"k+1 durable, the last has time", func() *tally { r := newRound(6, 5, 4); durable(r, 5); return r }, false, waiting},
		{"all durable", func() *tally { r := newRound(6, 5, 4); durable(r, 6); return r }, false, good},
		{"k+1 durable, the last failed", func() *tally { r := newRound(6, 5, 4); durable(r, 5); r.answered(5, false, false, ms); return r }, false, good},
		{"k+1 durable, the last is late", func() *tally { r := newRound(6, 5, 4); durable(r, 5); r.delayed(5); return r }, false, good},
		{"k durable, two failed", func() *tally {
			r := newRound(6, 5, 4)
			durable(r, 4)
			r.answered(4, false, false, ms)
			r.answered(5, false, false, ms)
			return r
		}, false, bad},
		{"k durable, two late", func() *tally { r := newRound(6, 5, 4); durable(r, 4); r.delayed(4); r.delayed(5); return r }, false, waiting},
		{"k durable, two late, time is up", func() *tally { r := newRound(6, 5, 4); durable(r, 4); r.delayed(4); r.delayed(5); return r }, true, bad},
		{"a late one came after all", func() *tally {
			r := newRound(6, 5, 4)
			durable(r, 4)
			r.delayed(4)
			r.delayed(5)
			r.answered(5, true, true, ms)
			return r
		}, false, good},
		{"its substitute has time", func() *tally { r := newRound(6, 5, 4); durable(r, 5); r.delayed(5); r.sent(5); return r }, false, waiting},
		{"its substitute is durable", func() *tally {
			r := newRound(6, 5, 4)
			durable(r, 5)
			r.delayed(5)
			r.sent(5)
			r.answered(5, false, true, ms)
			return r
		}, false, good},
		{"both copies are durable", func() *tally {
			r := newRound(2, 2, 1)
			durable(r, 1)
			r.delayed(1)
			r.sent(1)
			r.answered(1, false, true, ms)
			r.answered(1, true, true, ms)
			return r
		}, false, good},
		{"one copy where only one drive is left", func() *tally { r := newRound(1, 1, 1); durable(r, 1); return r }, false, good},
		{"that one failed", func() *tally { r := newRound(1, 1, 1); r.answered(0, false, false, ms); return r }, false, bad},
	} {
		if got := c.round().outcome(c.gaveUp); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	r := newRound(6, 5, 4)
	durable(r, 3)
	if r.kth != 0 {
		t.Error("three of k = 4 are durable, yet lateness counts")
	}
	r.answered(3, false, true, 7*ms)
	r.answered(4, false, true, 9*ms)
	if r.kth != 7*ms {
		t.Errorf("the k-th shard took %v, want 7ms", r.kth)
	}
}
