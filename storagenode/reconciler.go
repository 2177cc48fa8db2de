package storagenode

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"kintsugi/internal/pace"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// Reconciler makes one drive match the ring: it gets the shards that the drive
// should hold, from whoever has them or from k others, and removes copies that nobody needs.
// Rebuild, rebalance, drain, a drive that comes back, a new empty one and a damaged shard are all this.
type Reconciler struct {
	cfg      Config
	cluster  Cluster
	scanner  scanner
	repairer repairer
	log      *slog.Logger

	core   *core      // owned by Run
	events chan event // answers to effects; never full
	notify chan struct{}
	up     []placement.DriveID // drives that could be reached last; owned by Run
	strays strayWatch          // owned by Run

	mu        sync.Mutex // guards what follows
	hints     map[chunkID]uint32
	doubt     level     // how closely everything is to be looked at
	again     time.Time // when to compare the next time although nothing has changed
	status    Status
	shards    meter
	bytes     meter
	fullUntil time.Time
}

// Status is what a Reconciler is at.
type Status struct {
	PendingShards     int     // known to be missing and to be got
	PendingBytes      int64   // of those whose size is known
	PendingPartitions int     // not yet compared since something changed
	BytesPerSecond    float64 // written lately
	ReadBytes         uint64  // from other drives, since the start
	WrittenBytes      uint64  // of shards that were got, since the start
	// ETA is when nothing will be pending at the present rate; 0 if nothing is, negative if nothing moves.
	ETA time.Duration
}

const (
	maxHints = 64 << 10
	// pollInterval is how often the map and the drives that are up are looked at; both are a few pointers.
	pollInterval = time.Second
	stopped      = 3 * pollInterval // without a poll: the process was
	// catchUpAgain is when a drive that was away is compared once more: for a moment others take it for away although it
	// is back, and what they delete then it does not hear of.
	catchUpAgain = 6 * time.Second
	// compareInterval is the time between comparisons by digests where nothing seems to have changed: a writer that
	// could not reach this drive told it so, but what was told may have been lost.
	compareInterval = 10 * time.Minute
	fullPause       = 10 * time.Second // before a full drive is tried again
)

// ownFailure ends Run: the drive is lost.
type ownFailure struct{ err error }

// New returns a Reconciler of the drive that local is. It does nothing before Run.
func New(cfg Config, local Drive, cluster Cluster) (*Reconciler, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := newCensus()
	return &Reconciler{
		cfg: cfg, cluster: cluster, log: cfg.Logger,
		scanner: scanner{me: cfg.Drive, local: local, cluster: cluster, census: c, settle: cfg.Settle},
		repairer: repairer{
			surveyor: surveyor{cluster, cfg.Drive, local, c}, codes: cfg.Codes,
			pace:   &pace.Pace{PerSecond: cfg.BytesPerSecond, Busy: cfg.Busy},
			memory: semaphore.NewWeighted(repairMemory), metrics: cfg.Metrics, log: cfg.Logger, hint: cfg.Hint,
		},
		core:   newCore(cfg.Drive, timing{settle: cfg.Settle, retry: cfg.Retry, maxRetry: cfg.Retry * 256, fullPass: cfg.FullPass}),
		events: make(chan event, maxScans+2*maxRepairs+64),
		notify: make(chan struct{}, 1),
		hints:  map[chunkID]uint32{},
	}, nil
}

// Hint says that a shard is missing or damaged. It does nothing if this drive neither is
// the shard's home nor has damaged bytes of it. It never blocks.
func (r *Reconciler) Hint(id placement.ShardID) {
	m := r.cluster.Map()
	if m == nil {
		return
	}
	partition := m.Partition(id.Blob, id.Chunk)
	homes := m.Homes(partition)
	if home := int(id.Index) < len(homes) && homes[id.Index] == r.cfg.Drive; !home && !r.hasDamaged(id) {
		return
	}
	r.mu.Lock()
	if len(r.hints) < maxHints { // beyond it the next full pass must do
		r.hints[chunkOf(id)] = partition
	}
	r.mu.Unlock()
	r.Notify()
}

// hasDamaged tells whether the drive has the shard, but damaged. It answers from memory.
func (r *Reconciler) hasDamaged(id placement.ShardID) bool {
	_, err := r.scanner.local.Stat(context.Background(), id)
	return errors.Is(err, shardstore.ErrCorrupt)
}

// Notify says that the map has changed or a drive has come back. It never blocks;
// a Reconciler that is not told notices within some seconds.
func (r *Reconciler) Notify() {
	select {
	case r.notify <- struct{}{}:
	default:
	}
}

// CatchUp says that this drive may have missed something while it, or its node, was away or stopped: its
// partitions are compared with the others', now and once more a little later. It never blocks.
func (r *Reconciler) CatchUp() {
	r.compareAgain(time.Now().Add(catchUpAgain))
	r.doubtAll(compare)
}

func (r *Reconciler) compareAgain(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.again = at
}

// isDue tells that the time to compare has come, once each time.
func (r *Reconciler) isDue(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.again) {
		return false
	}
	r.again = now.Add(compareInterval)
	return true
}

// CompareAll has every shard compared with the other drives now. It never blocks.
func (r *Reconciler) CompareAll() { r.doubtAll(deep) }

func (r *Reconciler) doubtAll(l level) {
	r.mu.Lock()
	r.doubt = max(r.doubt, l)
	r.mu.Unlock()
	r.Notify()
}

// SetLimit bounds from now on how many bytes per second it reads and writes, as Config.BytesPerSecond: 0 means the
// default, negative no bound.
func (r *Reconciler) SetLimit(bytesPerSecond int64) {
	r.repairer.pace.Set(cmp.Or(bytesPerSecond, defaultBytesPerSecond))
}

// Status tells what there is to do.
func (r *Reconciler) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.ReadBytes, s.WrittenBytes = r.repairer.bytesRead.Load(), r.repairer.bytesWritten.Load()
	return s
}

// Run works until ctx ends, when it returns nil, or its own drive fails.
func (r *Reconciler) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer r.cfg.Metrics.forget(r.cfg.Drive.String())
	defer working.Wait()
	defer cancel()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	wake := time.NewTimer(0)
	defer wake.Stop()
	r.Notify()
	polled := time.Now()
	r.compareAgain(polled.Add(catchUpAgain)) // all is compared at the start
	for {
		var news []event
		select {
		case <-ctx.Done():
			return nil
		case ev := <-r.events:
			if end, ok := ev.(ownFailure); ok {
				return end.err
			}
			news = append(news, ev)
		case <-r.notify:
			news = r.news()
		case <-poll.C:
			if time.Since(polled) > stopped {
				r.CatchUp() // nobody could tell a stopped process what it missed
			}
			polled = time.Now()
			if r.isDue(polled) {
				r.doubtAll(compare)
			}
			news = r.news()
			if m := r.core.m; m != nil {
				if found := r.strays.look(ctx, polled, m, r.cfg.Drive, r.scanner.local); len(found) > 0 {
					news = append(news, strayed{found})
				}
			}
		case <-wake.C:
			news = append(news, ticked{})
		}
		for _, ev := range news {
			for _, e := range r.core.Step(time.Now(), ev) {
				r.act(ctx, &working, e)
			}
			r.count(ev)
		}
		if at := r.core.wake(); !at.IsZero() {
			wake.Reset(max(0, time.Until(at)))
		}
	}
}

// news looks for a new map, drives that came back, and hints.
func (r *Reconciler) news() []event {
	var news []event
	m := r.cluster.Map()
	if m == nil {
		return nil
	}
	if r.core.m == nil || m.Epoch > r.core.m.Epoch {
		news = append(news, mapChanged{m})
	}
	var up []placement.DriveID
	back := false
	for _, d := range m.Drives {
		if r.cluster.Peer(d.ID) != nil {
			up = append(up, d.ID)
			back = back || !slices.Contains(r.up, d.ID)
		}
	}
	r.up = up
	if back {
		news = append(news, woken{})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.doubt > settled {
		news = append(news, doubted{r.doubt})
		r.doubt = settled
	}
	if len(news) > 0 {
		r.scanner.census.forget()
	}
	for chunk, partition := range r.hints {
		news = append(news, hinted{chunk, partition})
	}
	clear(r.hints)
	return news
}

// act begins an effect; what comes of it arrives as an event.
func (r *Reconciler) act(ctx context.Context, working *sync.WaitGroup, e effect) {
	m := r.core.m
	switch e := e.(type) {
	case scan:
		working.Go(func() { r.answer(ctx, r.scan(ctx, m, e)) })
	case task:
		working.Go(func() { r.answer(ctx, r.repair(ctx, m, e)) })
	case drop:
		working.Go(func() {
			err := r.repairer.dropSurplus(ctx, m, e.copies)
			r.answer(ctx, dropped{e.partition, err})
		})
	case ask:
		for _, id := range e.shards {
			r.cfg.Hint(id)
		}
	case report:
		working.Go(func() { r.cfg.Clean(e.epoch, e.partitions) })
	}
}

func (r *Reconciler) answer(ctx context.Context, ev event) {
	select {
	case r.events <- ev:
	case <-ctx.Done():
	}
}

func (r *Reconciler) scan(ctx context.Context, m *placement.Map, e scan) event {
	result, err := r.scanner.scan(ctx, m, e)
	if errors.Is(err, shardstore.ErrFailed) {
		return ownFailure{err} // those of others count as down
	}
	return scanned{e.partition, result, err}
}

func (r *Reconciler) repair(ctx context.Context, m *placement.Map, t task) event {
	if r.isFull() {
		return repaired{t, failed}
	}
	out, err := r.repairer.repair(ctx, m, t)
	switch {
	case errors.Is(err, errLocal) && errors.Is(err, shardstore.ErrFailed):
		return ownFailure{err}
	case errors.Is(err, errLocal) && errors.Is(err, shardstore.ErrFull):
		r.setFull()
	case err != nil && ctx.Err() == nil:
		r.log.Warn("a shard could not be repaired", slog.String("blob", t.chunk.blob.String()), slog.Any("error", err))
	}
	r.cfg.Metrics.outcome(out)
	return repaired{t, out}
}

// isFull tells whether the drive was full a moment ago: then it is no use to read what it cannot take.
func (r *Reconciler) isFull() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.fullUntil)
}

func (r *Reconciler) setFull() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.After(r.fullUntil) {
		r.fullUntil = now.Add(fullPause)
		r.log.Warn("the drive is full: repairs wait")
	}
}

// count brings the status up to date.
func (r *Reconciler) count(ev event) {
	now := time.Now()
	c := r.core
	r.mu.Lock()
	defer r.mu.Unlock()
	if done, ok := ev.(repaired); ok {
		r.shards.add(now, 1)
		if done.outcome == copied || done.outcome == rebuilt {
			r.bytes.add(now, float64(done.task.bytes))
		}
	}
	s := Status{
		PendingShards: c.queue.count + c.repairs, PendingBytes: c.queue.bytes, PendingPartitions: len(c.ready) + c.scans,
		BytesPerSecond: r.bytes.perSecond(now),
	}
	expected := float64(s.PendingShards)
	if c.compared > 0 {
		expected += float64(c.found) / float64(c.compared) * float64(len(c.ready))
	}
	s.ETA = eta(expected, r.shards.perSecond(now))
	r.status = s
	r.cfg.Metrics.setPending(r.cfg.Drive.String(), s.PendingShards)
}

func eta(pending, perSecond float64) time.Duration {
	switch {
	case pending == 0:
		return 0
	case perSecond <= pending/math.MaxInt32: // some 68 years
		return -1
	}
	return time.Duration(pending / perSecond * float64(time.Second))
}
