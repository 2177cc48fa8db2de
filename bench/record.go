package bench

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Kinds of request that are told apart in a report.
const (
	kindPut    = "PUT"
	kindGet    = "GET"
	kindHead   = "HEAD"
	kindDelete = "DELETE"
)

// ErrorKind counts the failed requests with one code.
type ErrorKind struct {
	Code  string `json:"code"`
	Count int    `json:"count"`
	First string `json:"first"` // the text of the first of them
}

// tally is what happened to the requests of one kind.
type tally struct {
	latency histogram // of those that succeeded
	bytes   int64
	entries int64 // keys and common prefixes that listings returned
	errors  []ErrorKind
}

func (t *tally) fail(code, text string, n int) {
	for i := range t.errors {
		if t.errors[i].Code == code {
			t.errors[i].Count += n
			return
		}
	}
	t.errors = append(t.errors, ErrorKind{Code: code, Count: n, First: text})
}

func (t *tally) failed() int {
	n := 0
	for _, e := range t.errors {
		n += e.Count
	}
	return n
}

func (t *tally) merge(o *tally) {
	t.latency.merge(&o.latency)
	t.bytes += o.bytes
	t.entries += o.entries
	for _, e := range o.errors {
		t.fail(e.Code, e.First, e.Count)
	}
}

// recorder keeps the tallies of one worker, so that workers never wait for one
// another; its mutex guards them against the one who shows progress.
type recorder struct {
	mu      sync.Mutex
	tallies map[string]*tally
}

func newRecorder() *recorder { return &recorder{tallies: map[string]*tally{}} }

func (r *recorder) of(kind string) *tally {
	t := r.tallies[kind]
	if t == nil {
		t = &tally{}
		r.tallies[kind] = t
	}
	return t
}

// done counts a request that took d and moved so many bytes and entries.
func (r *recorder) done(kind string, d time.Duration, bytes, entries int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.of(kind)
	t.latency.add(d)
	t.bytes += bytes
	t.entries += entries
}

func (r *recorder) fail(kind string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(kind).fail(code(err), err.Error(), 1)
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.tallies)
}

// named is a tally with the kind it is of.
type named struct {
	kind string
	tally
}

// gather adds up what all recorders hold, by kind in order.
func gather(recorders []*recorder) []*named {
	sums := map[string]*named{}
	for _, r := range recorders {
		r.mu.Lock()
		for kind, t := range r.tallies {
			if sums[kind] == nil {
				sums[kind] = &named{kind: kind}
			}
			sums[kind].merge(t)
		}
		r.mu.Unlock()
	}
	all := make([]*named, 0, len(sums))
	for _, sum := range sums {
		all = append(all, sum)
	}
	slices.SortFunc(all, func(a, b *named) int { return cmp.Compare(a.kind, b.kind) })
	return all
}
