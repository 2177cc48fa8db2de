package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const loadBucket = "load"

// loadKind is what an operation of a load does.
type loadKind string

const (
	loadPut       loadKind = "PUT"
	loadGet       loadKind = "GET"
	loadRange     loadKind = "GET range"
	loadHead      loadKind = "HEAD"
	loadDelete    loadKind = "DELETE"
	loadList      loadKind = "LIST"
	loadMultipart loadKind = "multipart"
)

// loadMix is how often each is done, of 100.
var loadMix = []struct {
	kind  loadKind
	share int
}{{loadGet, 45}, {loadPut, 25}, {loadRange, 12}, {loadDelete, 7}, {loadHead, 6}, {loadList, 4}, {loadMultipart, 1}}

// loadOp is an operation that was done.
type loadOp struct {
	kind  loadKind
	began time.Duration // since the load was made
	took  time.Duration
	err   error
}

// clusterLoad is a mixed load on all gateways that knows what every key must hold. Each key belongs to one
// worker, so that there is never a doubt.
type clusterLoad struct {
	t        *testing.T
	clients  []*plainClient
	workers  []*loadWorker
	began    time.Time
	stopping atomic.Bool
	mayFail  atomic.Bool // errors are kept, but fail nothing: wrong answers always do
	largest  float64     // log2 of the largest body in bytes, 0: 8 MiB
	running  sync.WaitGroup
}

// loadWorker does one operation at a time.
type loadWorker struct {
	load   *clusterLoad
	number int
	rand   *rand.Rand
	keys   []loadKey

	mu  sync.Mutex // guards ops
	ops []loadOp
}

// loadKey is a key and what it may hold: one value, or more after writes that failed, of which nobody knows whether they happened.
type loadKey struct {
	name    string
	version int // last that was tried
	may     []loadValue
}

// loadValue is a version of a key; 0 is none.
type loadValue struct{ version, size int }

// newClusterLoad makes the bucket and its first objects. The same seed gives the same operations.
func newClusterLoad(t *testing.T, endpoints []string, workers, keys int, seed uint64) *clusterLoad {
	t.Helper()
	l := &clusterLoad{t: t, began: time.Now()}
	for _, endpoint := range endpoints {
		l.clients = append(l.clients, newPlainClient(endpoint, loadBucket))
	}
	if _, _, err := l.clients[0].do(t.Context(), http.MethodPut, "", "", nil); err != nil {
		t.Fatalf("bucket: %v", err)
	}
	var filling sync.WaitGroup
	for i := range workers {
		w := &loadWorker{load: l, number: i, rand: rand.New(rand.NewPCG(seed, uint64(i)))}
		for k := range keys {
			w.keys = append(w.keys, loadKey{name: fmt.Sprintf("w%02d/k%03d", i, k), may: []loadValue{{}}})
		}
		l.workers = append(l.workers, w)
		filling.Go(func() {
			for k := range w.keys {
				w.put(t.Context(), w.client(), &w.keys[k], w.size())
			}
		})
	}
	filling.Wait()
	return l
}

// start lets all workers work.
func (l *clusterLoad) start() {
	l.stopping.Store(false)
	for _, w := range l.workers {
		l.running.Go(func() {
			for !l.stopping.Load() {
				w.step(l.t.Context())
			}
		})
	}
}

func (l *clusterLoad) end() {
	l.stopping.Store(true)
	l.running.Wait()
}

// runFor lets the load go on for a time.
func (l *clusterLoad) runFor(d time.Duration) {
	l.t.Helper()
	until := time.Now().Add(d)
	poll(l.t, d+time.Minute, "time passes", func() bool { return time.Now().After(until) })
}

// now is the time in the load's own clock.
func (l *clusterLoad) now() time.Duration { return time.Since(l.began) }

// checkAll reads every key and lists all of them. The load must have ended.
func (l *clusterLoad) checkAll() {
	l.t.Helper()
	var checking sync.WaitGroup
	for _, w := range l.workers {
		checking.Go(func() {
			for k := range w.keys {
				w.get(l.t.Context(), w.client(), &w.keys[k])
			}
			w.list(l.t.Context(), w.client())
		})
	}
	checking.Wait()
}

func (w *loadWorker) client() *plainClient {
	return w.load.clients[w.rand.IntN(len(w.load.clients))]
}

// size draws from 1 B to 8 MiB: as many of each power of two up to 1 MiB, and a few above.
func (w *loadWorker) size() int {
	if largest := w.load.largest; largest > 0 {
		return int(math.Exp2(largest * w.rand.Float64()))
	}
	if w.rand.IntN(50) == 0 {
		return int(math.Exp2(20 + 3*w.rand.Float64()))
	}
	return int(math.Exp2(20 * w.rand.Float64()))
}

// step does one operation.
func (w *loadWorker) step(ctx context.Context) {
	key, client := &w.keys[w.rand.IntN(len(w.keys))], w.client()
	draw := w.rand.IntN(100)
	kind := loadGet
	for _, m := range loadMix {
		if draw -= m.share; draw < 0 {
			kind = m.kind
			break
		}
	}
	switch kind {
	case loadPut:
		w.put(ctx, client, key, w.size())
	case loadMultipart:
		if w.load.largest > 0 {
			w.put(ctx, client, key, w.size())
			return
		}
		w.put(ctx, client, key, 5<<20+w.rand.IntN(3<<20))
	case loadDelete:
		w.remove(ctx, client, key)
	case loadRange:
		w.getRange(ctx, client, key)
	case loadHead:
		w.head(ctx, client, key)
	case loadList:
		w.list(ctx, client)
	default:
		w.get(ctx, client, key)
	}
}

// done keeps the operation and tells whether it succeeded.
func (w *loadWorker) done(ctx context.Context, kind loadKind, what string, began time.Duration, err error) bool {
	if ctx.Err() != nil {
		return false // the test is over
	}
	w.mu.Lock()
	w.ops = append(w.ops, loadOp{kind, began, w.load.now() - began, err})
	w.mu.Unlock()
	if err != nil && !w.load.mayFail.Load() {
		w.load.t.Errorf("%s %s after %s: %v", kind, what, (w.load.now() - began).Round(time.Millisecond), err)
	}
	return err == nil
}

func (w *loadWorker) body(key *loadKey, v loadValue) []byte { return body(key.name, v.version, v.size) }

func (w *loadWorker) put(ctx context.Context, client *plainClient, key *loadKey, size int) {
	key.version++
	value, kind := loadValue{key.version, size}, loadPut
	data := w.body(key, value)
	began := w.load.now()
	var err error
	if size > 5<<20 {
		kind, err = loadMultipart, client.putParts(ctx, key.name, data)
	} else {
		_, _, err = client.do(ctx, http.MethodPut, key.name, "", data)
	}
	w.settle(key, value, w.done(ctx, kind, key.name, began, err))
}

func (w *loadWorker) remove(ctx context.Context, client *plainClient, key *loadKey) {
	began := w.load.now()
	_, _, err := client.do(ctx, http.MethodDelete, key.name, "", nil)
	w.settle(key, loadValue{}, w.done(ctx, loadDelete, key.name, began, err))
}

// settle notes a write. One that failed may have happened, or happen yet.
func (w *loadWorker) settle(key *loadKey, value loadValue, ok bool) {
	switch {
	case ok && len(key.may) == 1:
		key.may[0] = value
	case ok: // an earlier write that failed may be under way still
		key.may = append([]loadValue{value}, key.may...)
	default:
		key.may = append(key.may, value)
	}
}

func (w *loadWorker) get(ctx context.Context, client *plainClient, key *loadKey) {
	began := w.load.now()
	got, _, err := client.do(ctx, http.MethodGet, key.name, "", nil)
	w.judge(ctx, loadGet, key, began, err, func(v loadValue) bool {
		return len(got) == v.size && bytes.Equal(got, w.body(key, v))
	})
}

func (w *loadWorker) head(ctx context.Context, client *plainClient, key *loadKey) {
	began := w.load.now()
	_, header, err := client.do(ctx, http.MethodHead, key.name, "", nil)
	w.judge(ctx, loadHead, key, began, err, func(v loadValue) bool {
		return header.Get("Content-Length") == fmt.Sprint(v.size)
	})
}

func (w *loadWorker) getRange(ctx context.Context, client *plainClient, key *loadKey) {
	began, size := w.load.now(), key.may[0].size
	if size == 0 || len(key.may) > 1 {
		w.get(ctx, client, key)
		return
	}
	from := w.rand.IntN(size)
	to := from + w.rand.IntN(size-from)
	got, _, err := client.do(ctx, http.MethodGet, key.name, "", nil, "Range", fmt.Sprintf("bytes=%d-%d", from, to))
	w.judge(ctx, loadRange, key, began, err, func(v loadValue) bool {
		return bytes.Equal(got, w.body(key, v)[from:to+1])
	})
}

// judge compares an answer with what the key may hold. A wrong answer fails the test, whatever is broken.
func (w *loadWorker) judge(ctx context.Context, kind loadKind, key *loadKey, began time.Duration, err error, holds func(loadValue) bool) {
	var answer *answerError
	absent := errors.As(err, &answer) && answer.status == http.StatusNotFound
	if absent {
		err = nil
	}
	if !w.done(ctx, kind, key.name, began, err) {
		return
	}
	right := func(v loadValue) bool { return v.version == 0 == absent && (absent || holds(v)) }
	if !slices.ContainsFunc(key.may, right) {
		w.load.t.Errorf("%s %s at %s: WRONG ANSWER: absent is %v, want %v", kind, key.name, began, absent, key.may)
	}
}

// list compares the worker's own folder.
func (w *loadWorker) list(ctx context.Context, client *plainClient) {
	began, prefix := w.load.now(), fmt.Sprintf("w%02d/", w.number)
	found, err := client.list(ctx, prefix)
	if !w.done(ctx, loadList, prefix, began, err) {
		return
	}
	for _, key := range w.keys {
		size, there := found[key.name]
		right := func(v loadValue) bool { return v.version > 0 == there && (!there || v.size == size) }
		if !slices.ContainsFunc(key.may, right) {
			w.load.t.Errorf("LIST %s: %s is there: %v, of %d bytes, want %v", prefix, key.name, there, size, key.may)
		}
		delete(found, key.name)
	}
	if len(found) > 0 {
		w.load.t.Errorf("LIST %s has keys that were never written: %v", prefix, found)
	}
}

// latencies sums up operations of some kinds that began in [from, to).
type latencies struct {
	took   []time.Duration // sorted
	failed int
	first  error
}

func (l *clusterLoad) latencies(from, to time.Duration, kinds ...loadKind) (sum latencies) {
	for _, w := range l.workers {
		w.mu.Lock()
		for _, op := range w.ops {
			if op.began < from || op.began >= to || len(kinds) > 0 && !slices.Contains(kinds, op.kind) {
				continue
			}
			if op.err != nil {
				sum.failed++
				sum.first = op.err
				continue
			}
			sum.took = append(sum.took, op.took)
		}
		w.mu.Unlock()
	}
	slices.Sort(sum.took)
	return sum
}

func (l latencies) quantile(q float64) time.Duration {
	if len(l.took) == 0 {
		return 0
	}
	return l.took[min(int(q*float64(len(l.took))), len(l.took)-1)]
}

func (l latencies) max() time.Duration { return l.quantile(1) }

func (l latencies) String() string {
	return fmt.Sprintf("%d done, %d failed, p50 %s, p99 %s, max %s", len(l.took), l.failed,
		rounded(l.quantile(0.5)), rounded(l.quantile(0.99)), rounded(l.max()))
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// longestGap is the longest time in [from, to) in which no operation of these kinds succeeded.
func (l *clusterLoad) longestGap(from, to time.Duration, kinds ...loadKind) time.Duration {
	ends := []time.Duration{from, to}
	for _, w := range l.workers {
		w.mu.Lock()
		for _, op := range w.ops {
			if end := op.began + op.took; op.err == nil && end >= from && end < to && slices.Contains(kinds, op.kind) {
				ends = append(ends, end)
			}
		}
		w.mu.Unlock()
	}
	sort.Slice(ends, func(i, j int) bool { return ends[i] < ends[j] })
	longest := time.Duration(0)
	for i := 1; i < len(ends); i++ {
		longest = max(longest, ends[i]-ends[i-1])
	}
	return longest
}
