package blob

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardstore"
)

// health is what the data path has learnt of one drive from its own requests. No failure detector has a say.
type health struct {
	id       placement.DriveID
	instance Drive // the value that was judged; another one starts anew
	reads    *breaker
	writes   *breaker
	deletes  *breaker // only hung calls count: a full drive must get its deletions
	readTime quantile
}

// registry keeps the health of all drives.
type registry struct {
	config  Config
	metrics *metrics
	mu      sync.Mutex // serialises changes of drives
	drives  atomic.Pointer[map[placement.DriveID]*health]
}

func newRegistry(c Config, m *metrics) *registry {
	r := &registry{config: c, metrics: m}
	r.drives.Store(&map[placement.DriveID]*health{})
	return r
}

// of returns the health of a drive.
func (r *registry) of(id placement.DriveID, d Drive) *health {
	if h := (*r.drives.Load())[id]; h != nil && h.instance == d {
		return h
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := *r.drives.Load()
	if h := old[id]; h != nil && h.instance == d {
		return h
	}
	h := &health{
		id: id, instance: d,
		reads: newBreaker(r.config, r.config.ReadHedgeMax), writes: newBreaker(r.config, r.config.WriteGiveUp/2),
		deletes: newBreaker(r.config, 0),
	}
	drives := maps.Clone(old)
	drives[id] = h
	r.drives.Store(&drives)
	return h
}

// open counts the drives whose breakers are open for reads and for writes.
func (r *registry) open() (reads, writes int) {
	for _, h := range *r.drives.Load() {
		if h.reads.open() {
			reads++
		}
		if h.writes.open() {
			writes++
		}
	}
	return reads, writes
}

// judge tells the breaker how a call to its drive ended. What concerns the shard alone says nothing of the drive.
func judge(b *breaker, err error) {
	switch {
	case err == nil, errors.Is(err, shardstore.ErrNotFound), errors.Is(err, shardstore.ErrDeleted), damaged(err):
		b.success()
	case errors.Is(err, shardstore.ErrFailed), errors.Is(err, shardstore.ErrFull):
		b.trip(time.Now())
	case errors.Is(err, context.Canceled), errors.Is(err, storagenode.ErrStaleMap): // it was not the drive
	default:
		b.failure(time.Now())
	}
}

// damaged tells whether a drive has a shard that is not as it was written. A shard that is too short
// is one: the metadata knows how long it must be.
func damaged(err error) bool {
	return errors.Is(err, shardstore.ErrCorrupt) || errors.Is(err, shardstore.ErrRange)
}

// quantile follows the 95th percentile of a stream of durations by stochastic approximation: every
// value above moves it up 19 times as far as one below moves it down. Updates may race; one that
// is lost does no harm.
type quantile struct{ v atomic.Int64 }

func (q *quantile) observe(d time.Duration) {
	v := q.v.Load()
	step := max(v/8, int64(time.Microsecond))
	switch {
	case v == 0:
		v = int64(d)
	case int64(d) > v:
		v += step * 95 / 100
	default:
		v -= step * 5 / 100
	}
	q.v.Store(v)
}

func (q *quantile) value() time.Duration { return time.Duration(q.v.Load()) }

// budget bounds how many hedges go out: 3 % of the fetches, and a burst for the
// moment in which a drive begins to hang.
type budget struct{ spent atomic.Int64 } // in fetches; 0 is a full budget

const (
	hedgeCost  = 33
	hedgeBurst = 64 * hedgeCost
)

// earn is called for every fetch.
func (b *budget) earn() {
	if n := b.spent.Load(); n > 0 {
		b.spent.CompareAndSwap(n, n-1)
	}
}

// spend tells whether a hedge may go out, and counts it.
func (b *budget) spend() bool {
	if b.spent.Load() > hedgeBurst {
		return false
	}
	b.spent.Add(hedgeCost)
	return true
}
