package oracle

import (
	"fmt"
	"time"

	"kintsugi/bench/chaos/history"
)

// Tolerance is which failures of requests are expected.
type Tolerance string

const (
	None       Tolerance = "none"   // every request is served
	HonestOnly Tolerance = "honest" // 5xx, and connections that end, are; time-outs and anything else are not
	Any        Tolerance = "any"
)

// Window is a time with a tolerance.
type Window struct {
	Begin, End time.Duration
	Tolerance  Tolerance
}

// tolerates tells whether an operation that failed may.
func (w *Window) tolerates(o *history.Op) bool {
	if o.Begin > w.End || o.End < w.Begin {
		return false
	}
	return w.Tolerance == Any || w.Tolerance == HonestOnly && o.Outcome.Honest()
}

// Tolerated tells whether any of the windows tolerates the failure.
func Tolerated(windows []Window, o *history.Op) bool {
	for i := range windows {
		if windows[i].tolerates(o) {
			return true
		}
	}
	return false
}

// Served is oracle O5: no request fails, but for those that a fault beyond the redundancy may cost. Requests of the last sweep are
// no exception.
func Served(s history.Snapshot, windows []Window) Verdict {
	var failures []Failure
	var keys map[int32][]history.Op
	tolerated := 0
	for i := range s.Ops {
		o := &s.Ops[i]
		switch {
		case !o.Outcome.Failed() || o.Outcome == history.Wrong || o.Outcome == history.Rejected: // these are lies
		case Tolerated(windows, o):
			tolerated++
		default:
			if keys == nil {
				keys = s.ByKey()
			}
			failures = append(failures, failure(fmt.Sprintf("a %s failed: %s", o.Kind, o.Outcome), *o, message(s, *o), keys[o.Key]))
		}
	}
	good := fmt.Sprintf("%s, no errors", counted(len(s.Ops), "request"))
	if tolerated > 0 {
		good = fmt.Sprintf("%s, %s, all during faults that allow them", counted(len(s.Ops), "request"), counted(tolerated, "error"))
	}
	return judge("O5", "served", good, failures)
}
