package oracle

import (
	"math"
	"time"

	"kintsugi/bench/chaos/history"
)

// facts are what is certain about one key, whatever order concurrent operations had. They prove less than the search for an order
// in Linear, but what they prove needs no more than two operations to be shown.
type facts struct {
	ops    []history.Op
	writes []history.Op // that happened, or may have
}

const never = time.Duration(math.MaxInt64)

func newFacts(ops []history.Op) *facts {
	f := &facts{ops: ops}
	for _, o := range ops {
		if o.Kind.Writes() && (o.Outcome == history.OK || o.Doubtful()) {
			f.writes = append(f.writes, o)
		}
	}
	return f
}

// end is when a write had happened for certain.
func end(w *history.Op) time.Duration {
	if w.Outcome != history.OK {
		return never
	}
	return w.End
}

// result is the version that is there after a write.
func result(w *history.Op) uint32 {
	if w.Kind == history.Delete {
		return history.NoVersion
	}
	return w.Version
}

// replaced returns an acknowledged write that began after the version was made for certain, and had ended before the read began:
// who reads afterwards cannot find that version. It returns nil if there is none.
func (f *facts) replaced(version uint32, read *history.Op) *history.Op {
	made, known := f.made(version, read.End)
	if !known {
		return nil // then nothing is certain
	}
	for i := range f.writes {
		if w := &f.writes[i]; w.Outcome == history.OK && result(w) != version && w.Begin > made && w.End < read.Begin {
			return w
		}
	}
	return nil
}

// made is when the version was made at the latest, by a write that began before the time. Before the run there was none.
func (f *facts) made(version uint32, until time.Duration) (at time.Duration, known bool) {
	at, known = -1, version == history.NoVersion
	for i := range f.writes {
		if w := &f.writes[i]; result(w) == version && w.Begin <= until {
			at, known = max(at, end(w)), true
		}
	}
	return at, known
}

// present tells whether the key was there for certain during all of the time; proof is the write that made it.
func (f *facts) present(begin, until time.Duration) (proof *history.Op) {
	return f.certain(begin, until, func(w *history.Op) bool { return w.Kind != history.Delete })
}

// absent tells whether the key was not there for certain during all of the time.
func (f *facts) absent(begin, until time.Duration) (proof *history.Op, unwritten bool) {
	none := true
	for i := range f.writes {
		if w := &f.writes[i]; w.Kind != history.Delete && w.Begin <= until {
			none = false
		}
	}
	return f.certain(begin, until, func(w *history.Op) bool { return w.Kind == history.Delete }), none
}

// certain returns an acknowledged write of the wanted kind that had ended before begin, and after which no other kind can have
// happened until the end.
func (f *facts) certain(begin, until time.Duration, wanted func(*history.Op) bool) *history.Op {
	var last *history.Op // the one that began last leaves the least room for others
	for i := range f.writes {
		if w := &f.writes[i]; wanted(w) && w.Outcome == history.OK && w.End < begin && (last == nil || w.Begin > last.Begin) {
			last = w
		}
	}
	if last == nil {
		return nil
	}
	for i := range f.writes {
		if w := &f.writes[i]; !wanted(w) && w.Begin <= until && end(w) >= last.Begin {
			return nil
		}
	}
	return last
}
