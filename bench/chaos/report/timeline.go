package report

import (
	"slices"
	"time"

	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/oracle"
)

// bucket is the time that one figure of the timeline stands for.
const bucket = 100 * time.Millisecond

// NewTimeline makes the timeline of the operations that ended until a time.
func NewTimeline(ops []history.Op, until time.Duration) Timeline {
	n := int((until + bucket - 1) / bucket)
	t := Timeline{BucketSeconds: bucket.Seconds(), Requests: make([]int, n), Errors: make([]int, n), Bytes: make([]int64, n),
		P50: make([]float32, n), P99: make([]float32, n), P999: make([]float32, n)}
	took := make([][]time.Duration, n)
	for i := range ops {
		o := &ops[i]
		at := int(o.End / bucket)
		if at >= n || o.Final { // the last sweep is no load
			continue
		}
		t.Requests[at]++
		if o.Outcome.Failed() {
			t.Errors[at]++
		} else {
			t.Bytes[at] += o.SizeBytes
		}
		took[at] = append(took[at], o.Took())
	}
	for i, times := range took {
		slices.Sort(times)
		t.P50[i], t.P99[i], t.P999[i] = float32(Quantile(times, 0.5)), float32(Quantile(times, 0.99)), float32(Quantile(times, 0.999))
	}
	return t
}

// Quantile is the q-th of sorted times, in seconds; 0 if there is none.
func Quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Seconds()
}

// NewKinds sums up the operations by kind.
func NewKinds(ops []history.Op) (kinds []Kind) {
	for _, kind := range history.Kinds() {
		k := Kind{Kind: kind.String()}
		var took []time.Duration
		for i := range ops {
			if o := &ops[i]; o.Kind == kind {
				k.Count++
				if o.Outcome.Failed() {
					k.Errors++
					continue
				}
				k.Bytes += o.SizeBytes
				took = append(took, o.Took())
			}
		}
		slices.Sort(took)
		k.P50, k.P99, k.P999, k.Max = Quantile(took, 0.5), Quantile(took, 0.99), Quantile(took, 0.999), Quantile(took, 1)
		if k.Count > 0 {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// NewErrors groups the failures.
func NewErrors(s history.Snapshot, windows []oracle.Window) (groups []ErrorGroup) {
	type group struct {
		kind    history.Kind
		outcome history.Outcome
		status  uint16
	}
	at := map[group]int{}
	for i := range s.Ops {
		o := &s.Ops[i]
		if !o.Outcome.Failed() {
			continue
		}
		g := group{o.Kind, o.Outcome, o.Status}
		n, known := at[g]
		if !known {
			n = len(groups)
			at[g] = n
			groups = append(groups, ErrorGroup{Kind: o.Kind.String(), Outcome: o.Outcome.String(), Status: int(o.Status), First: o.Begin.Seconds()})
		}
		groups[n].Count++
		if oracle.Tolerated(windows, o) {
			groups[n].Allowed++
		}
	}
	for _, m := range s.Messages {
		if n, known := at[group{m.Op.Kind, m.Op.Outcome, m.Op.Status}]; known && groups[n].Text == "" {
			groups[n].Text = m.Text
		}
	}
	return groups
}
