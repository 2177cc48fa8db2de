package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kintsugi/bench/chaos/cluster"
	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/oracle"
	"kintsugi/bench/chaos/report"
)

// watcher looks at the cluster all the time: what it says of itself, what repair has moved, and whether processes die that
// nobody killed.
type watcher struct {
	cluster *cluster.Cluster
	log     *history.Log
	token   string

	mu      sync.Mutex // guards all below
	samples []report.Sample
	last    cluster.Status
	lastAt  time.Duration // when the question was asked that last answers; negative: never
	moved   map[string]cluster.Metrics
	read    float64
	written float64
	deaths  []oracle.Failure
	dead    map[string]int // start of the process whose death is known
	panics  float64
	fenced  float64 // writes that storage nodes refused because they came too late
	usages  []usage
}

// usage is what a process had of the machine at a time.
type usage struct {
	at   time.Duration
	node string
	cluster.Usage
}

// How often the watcher looks.
const (
	statusInterval  = 500 * time.Millisecond
	metricsInterval = 2 * time.Second
)

func newWatcher(ctx context.Context, k *cluster.Cluster, log *history.Log) (*watcher, error) {
	token, err := k.Token(ctx)
	if err != nil {
		return nil, err
	}
	return &watcher{cluster: k, log: log, token: token, lastAt: -1, moved: map[string]cluster.Metrics{}, dead: map[string]int{}}, nil
}

// run looks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	var looking sync.WaitGroup
	looking.Go(func() { every(ctx, statusInterval, func() { w.lookStatus(ctx) }) })
	looking.Go(func() { every(ctx, metricsInterval, func() { w.lookMetrics(ctx) }) })
	looking.Go(func() { every(ctx, statusInterval, w.lookDeaths) })
	looking.Wait()
}

func every(ctx context.Context, pause time.Duration, look func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for ctx.Err() == nil {
		look()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (w *watcher) lookStatus(ctx context.Context) {
	asked := w.log.Now()
	s, err := w.cluster.Status(ctx)
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	sample := report.Sample{At: asked.Seconds(), Took: (w.log.Now() - asked).Seconds(), Silent: err != nil}
	if err == nil {
		w.last, w.lastAt = s, asked
		sample.Up, sample.Nodes, sample.Pending = s.Up(), len(s.Nodes), s.Repair.PendingShards
		sample.Read, sample.Written = w.read, w.written
		if s.Chunks != nil {
			sample.ByLost, sample.Unreadable = s.Chunks.ByLost, s.Chunks.Unreadable
		}
	}
	w.samples = append(w.samples, sample)
}

// lookMetrics adds up what repair has moved. Counters of a process that was started again begin anew.
func (w *watcher) lookMetrics(ctx context.Context) {
	const readName, writtenName = "kintsugi_repair_read_bytes_total", "kintsugi_repair_written_bytes_total"
	const panicsName, goroutinesName, fencedName = "kintsugi_rpc_panics_total", "go_goroutines", "kintsugi_storagenode_fenced_writes_total"
	var asking sync.WaitGroup
	for _, n := range w.cluster.Nodes() {
		if _, down, stopped := n.State(); down || stopped {
			continue
		}
		asking.Go(func() {
			m, err := w.cluster.Metrics(ctx, w.token, n)
			if err != nil {
				return // it is dead, or busy: the next look counts it all
			}
			u, failed := n.Usage()
			w.mu.Lock()
			defer w.mu.Unlock()
			if failed == nil {
				u.Goroutines = int(m[goroutinesName])
				w.usages = append(w.usages, usage{w.log.Now(), n.Name, u})
			}
			before := w.moved[n.Name]
			if m[readName] < before[readName] || m[writtenName] < before[writtenName] || m[fencedName] < before[fencedName] {
				before = nil
			}
			w.read += m[readName] - before[readName]
			w.written += m[writtenName] - before[writtenName]
			w.fenced += m[fencedName] - before[fencedName]
			w.panics = max(w.panics, m[panicsName])
			w.moved[n.Name] = m
		})
	}
	asking.Wait()
}

// waitingGarbage is how many bodies the processes know of that have to be removed.
func (w *watcher) waitingGarbage() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.moved {
		if m["kintsugi_membership_coordinator"] > 0 { // only who coordinates removes; others tell what they knew when they did
			n += int(m["kintsugi_blob_garbage_pending"])
		}
	}
	return n
}

// lookDeaths notes processes that ended although nobody ended them.
func (w *watcher) lookDeaths() {
	for _, n := range w.cluster.Nodes() {
		if !n.EndedByItself() {
			continue
		}
		starts := n.Starts() + 1
		w.mu.Lock()
		if w.dead[n.Name] != starts {
			w.dead[n.Name] = starts
			w.deaths = append(w.deaths, oracle.Failure{Title: fmt.Sprintf("%s ended by itself", n.Name), Seconds: w.log.Now().Seconds(),
				Logs: n.LastLines(0, n.LogSize(), 30)})
		}
		w.mu.Unlock()
	}
}

// status is the newest answer, and when it was asked for.
func (w *watcher) status() (cluster.Status, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.lastAt
}

// sum is what repair has moved so far.
func (w *watcher) sum() (read, written float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.read, w.written
}
