package blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kintsugi/internal/pace"
	"kintsugi/meta"
)

// Queue is the deletion queue of the metadata.
type Queue interface {
	// Garbage returns up to limit entries from the head of a group's queue.
	Garbage(ctx context.Context, group, limit int) ([]meta.Garbage, error)
	// Forget removes entries.
	Forget(ctx context.Context, group int, sequences []uint64) error
}

// GarbageConfig tunes a Garbage. Zero values are usable but for Groups.
type GarbageConfig struct {
	// Groups is the number of metadata groups, each with a queue of its own.
	Groups int
	// Grace is how long a blob stays after it was queued, for those who have just looked it up; 0 means 30 s.
	Grace time.Duration
	// Ripe, if given, says before when a blob must have been queued, beside Grace: what other processes read is not
	// pinned here. The zero time: nothing is ripe.
	Ripe func() time.Time
	// Interval is how often the queues are looked at while they are short; 0 means 5 s.
	Interval time.Duration
	// Batch is how many blobs are removed together; 0 means 128.
	Batch int
	// ShardsPerSecond bounds the deletions; 0 means 20,000.
	ShardsPerSecond int
}

func (c GarbageConfig) withDefaults() GarbageConfig {
	c.Grace = cmp.Or(c.Grace, 30*time.Second)
	c.Interval = cmp.Or(c.Interval, 5*time.Second)
	c.Batch = cmp.Or(c.Batch, 128)
	c.ShardsPerSecond = cmp.Or(c.ShardsPerSecond, 20_000)
	return c
}

// Garbage removes the blobs that the metadata has queued for deletion. What is being read here is left until its
// readers are done. It keeps no state: the queue is the state.
type Garbage struct {
	s      *Store
	queue  Queue
	config GarbageConfig
}

// NewGarbage returns a worker for Run.
func NewGarbage(s *Store, q Queue, c GarbageConfig) (*Garbage, error) {
	if c.Groups < 1 {
		return nil, fmt.Errorf("blob: garbage of %d groups", c.Groups)
	}
	return &Garbage{s: s, queue: q, config: c.withDefaults()}, nil
}

// Run removes garbage until ctx ends, whose error it returns.
func (g *Garbage) Run(ctx context.Context) error {
	for {
		pending, more := 0, false
		for group := range g.config.Groups {
			result, err := g.drain(ctx, group)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil { // the metadata may be electing, a drive may have died: later
				g.s.config.Logger.Info("garbage is left for later", slog.Int("group", group), slog.Any("error", err))
			}
			pending += result.waiting
			more = more || result.more && err == nil
		}
		g.s.metrics.garbagePending.Set(float64(pending))
		if !more {
			if err := pace.Pause(ctx, g.config.Interval); err != nil {
				return err
			}
		}
	}
}

// ripe returns before when a blob must have been queued to be removed now.
func (g *Garbage) ripe(now time.Time) time.Time {
	ripe := now.Add(-g.config.Grace)
	if g.config.Ripe != nil {
		if at := g.config.Ripe(); at.Before(ripe) {
			return at
		}
	}
	return ripe
}

// drained tells what a look at a queue came to.
type drained struct {
	waiting int  // entries that are still in their grace or in use
	more    bool // a full batch was removed: there may be more
}

// drain removes a batch of the group's garbage.
func (g *Garbage) drain(ctx context.Context, group int) (drained, error) {
	entries, err := g.queue.Garbage(ctx, group, g.config.Batch)
	if err != nil || len(entries) == 0 {
		return drained{}, err
	}
	ripe := g.ripe(time.Now())
	epoch := g.s.cluster.Map().Epoch
	d := make(deletions)
	var done []uint64
	for i := range entries {
		e := &entries[i]
		if e.Queued.After(ripe) || g.s.pins.has(e.Blob.ID) {
			continue
		}
		if err := g.s.planRemoval(e.Blob, d); errors.Is(err, ErrInvalidBlob) {
			g.s.config.Logger.Error("a queued blob contradicts itself and is left to the orphan sweep",
				slog.String("blob", e.Blob.ID.String()), slog.Any("error", err))
		} else if err != nil {
			return drained{}, err
		}
		done = append(done, e.Sequence)
	}
	result := drained{waiting: len(entries) - len(done), more: len(done) == g.config.Batch}
	if len(done) == 0 {
		return result, nil
	}
	if err := g.s.delete(ctx, d); err != nil {
		return drained{waiting: len(entries)}, err
	}
	if g.s.cluster.Map().Epoch != epoch {
		// A drive that is home to a shard only since then was told nothing, and may have copied it before it was deleted elsewhere: once more.
		return drained{waiting: len(entries)}, nil
	}
	if err := g.queue.Forget(ctx, group, done); err != nil {
		return drained{waiting: len(entries)}, err
	}
	g.s.metrics.blobsRemoved.Add(float64(len(done)))
	return result, pace.Pause(ctx, d.takes(g.config.ShardsPerSecond))
}

// takes is how long the deletions take at most at a rate.
func (d deletions) takes(shardsPerSecond int) time.Duration {
	n := 0
	for _, ids := range d {
		n += len(ids)
	}
	return time.Duration(n) * time.Second / time.Duration(shardsPerSecond)
}
