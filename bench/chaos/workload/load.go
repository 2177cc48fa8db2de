package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"

	"kintsugi/bench/chaos/history"
)

// Load is a load on a service and all that it saw.
type Load struct {
	config Config
	stores []*store
	log    *history.Log
	book   *history.Book
	slots  []atomic.Int32 // keys in use
	inUse  atomic.Int64   // operations in flight
}

// A key is replaced by a new one after so many operations, or so many writes of which nobody knows whether they happened:
// what can be proved of a key costs more with each of them.
const (
	maxKeyOps    = 600
	maxKeyDoubts = 3
)

// hotShare is how many operations of ten go to the hotSlots keys that clients fight for.
const (
	hotShare = 3
	hotSlots = 8
)

// New returns a load that is not under way.
func New(c Config, log *history.Log) (*Load, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l := &Load{config: c, log: log, book: &history.Book{}, slots: make([]atomic.Int32, c.Keys)}
	for i := range c.Endpoints {
		s, err := newStore(c, i)
		if err != nil {
			return nil, err
		}
		l.stores = append(l.stores, s)
	}
	for i := range l.slots {
		l.slots[i].Store(l.book.NewKey())
	}
	return l, nil
}

// Book is what the load wrote.
func (l *Load) Book() *history.Book { return l.book }

// InFlight is how many operations wait for an answer.
func (l *Load) InFlight() int { return int(l.inUse.Load()) }

// Prepare makes the bucket and writes the first version of every key.
func (l *Load) Prepare(ctx context.Context) error {
	bucket := l.stores[0].core
	exists, err := bucket.BucketExists(ctx, l.config.Bucket)
	if err == nil && !exists {
		err = bucket.MakeBucket(ctx, l.config.Bucket, minio.MakeBucketOptions{Region: l.config.Region})
	}
	if err != nil {
		return fmt.Errorf("workload: bucket %s: %w", l.config.Bucket, err)
	}
	next := atomic.Int64{}
	l.each(func(c *client) {
		for i := next.Add(1) - 1; i < int64(len(l.slots)) && ctx.Err() == nil; i = next.Add(1) - 1 {
			c.put(ctx, history.Put, l.slots[i].Load())
		}
	})
	return ctx.Err()
}

// Run keeps the load up until ctx ends, then waits for what is in flight: the clients are patient, so that
// the end of a run makes no doubtful writes.
func (l *Load) Run(ctx context.Context) {
	l.each(func(c *client) {
		pace := newPacer(l.config, c.rand)
		for pace.wait(ctx) {
			c.step(context.WithoutCancel(ctx))
		}
	})
}

// Sweep reads every key that was ever used and lists the bucket. Nobody may write meanwhile.
func (l *Load) Sweep(ctx context.Context) error {
	var next atomic.Int32
	until := time.Now().Add(sweepPatience)
	l.each(func(c *client) {
		c.final = true
		for k := next.Add(1) - 1; int(k) < l.book.Keys() && ctx.Err() == nil; k = next.Add(1) - 1 {
			c.patiently(ctx, until, func() history.Outcome { return c.get(ctx, history.Get, k) })
		}
	})
	c := l.client(0)
	c.final = true
	c.patiently(ctx, until, func() history.Outcome { return c.list(ctx, "") })
	return ctx.Err()
}

// each runs f for every client at once.
func (l *Load) each(f func(*client)) {
	var clients sync.WaitGroup
	for i := range l.config.Clients {
		clients.Go(func() { f(l.client(i)) })
	}
	clients.Wait()
}

// pacer spreads the operations of a client over time.
type pacer struct {
	rand  *rand.Rand
	pause time.Duration // on average
	next  time.Time
}

// maxLag is how far a client that had to wait may lag behind its pace before it lets the time go: a stall must not end in a burst.
const maxLag = 500 * time.Millisecond

func newPacer(c Config, r *rand.Rand) *pacer {
	p := &pacer{rand: r, next: time.Now()}
	if c.Rate > 0 {
		p.pause = time.Duration(float64(c.Clients) / c.Rate * float64(time.Second))
		p.next = p.next.Add(time.Duration(r.Float64() * float64(p.pause)))
	}
	return p
}

// wait returns true when the next operation may begin, false when ctx has ended.
func (p *pacer) wait(ctx context.Context) bool {
	now := time.Now()
	if now.Sub(p.next) > maxLag {
		p.next = now
	}
	if d := p.next.Sub(now); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	p.next = p.next.Add(time.Duration((0.5 + p.rand.Float64()) * float64(p.pause)))
	return ctx.Err() == nil
}
