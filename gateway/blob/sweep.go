package blob

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"kintsugi/internal/pace"
	"kintsugi/meta"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// Lister is what the sweep needs of a Drive beside its methods; drives without it are passed over.
type Lister interface {
	// List returns at most limit healthy shards of the partition that come after the given one, in order.
	List(ctx context.Context, partition uint32, after placement.ShardID, limit int) ([]shardstore.Info, error)
}

// Liveness tells which blobs the metadata refers to.
type Liveness interface {
	BlobsLive(ctx context.Context, blobs []placement.BlobID) ([]bool, error)
}

// SweepConfig tunes a Sweep; the zero value is usable.
type SweepConfig struct {
	// Age is how old a shard must be before its blob is asked about; 0 means 25 h. Metadata refuses to commit a blob that began
	// to be written meta.MaxBlobAge ago, so what nobody refers to an hour later nobody ever will.
	Age time.Duration
	// Interval is the pause between two passes; 0 means 6 h.
	Interval time.Duration
	// ShardsPerSecond bounds how fast a pass goes; 0 means 2,000.
	ShardsPerSecond int
}

func (c SweepConfig) withDefaults() SweepConfig {
	c.Age = cmp.Or(c.Age, meta.MaxBlobAge+time.Hour)
	c.Interval = cmp.Or(c.Interval, 6*time.Hour)
	c.ShardsPerSecond = cmp.Or(c.ShardsPerSecond, 2000)
	return c
}

// Sweep walks over all drives and removes the shards of blobs that no metadata refers to: what
// writes that a crash cut short have left, and what a removal did not reach.
type Sweep struct {
	s      *Store
	live   Liveness
	config SweepConfig
	next   uint32 // the partition that comes next: a pass that fails is taken up there
}

// NewSweep returns a worker for Run.
func NewSweep(s *Store, live Liveness, c SweepConfig) *Sweep {
	return &Sweep{s: s, live: live, config: c.withDefaults()}
}

// retryInterval is the pause after a pass that was cut short.
const retryInterval = time.Minute

// Run sweeps until ctx ends, whose error it returns. The first pass comes after one interval: a
// restart loop must not become a load.
func (w *Sweep) Run(ctx context.Context) error {
	wait := w.config.Interval
	for {
		if err := pace.Pause(ctx, wait); err != nil {
			return err
		}
		wait = w.config.Interval
		if err := w.Pass(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			w.s.config.Logger.Info("orphan sweep was cut short", slog.Int("partition", int(w.next)), slog.Any("error", err))
			wait = min(wait, retryInterval)
		}
	}
}

// Pass sweeps all partitions, from where the last pass failed.
func (w *Sweep) Pass(ctx context.Context) error {
	m := w.s.cluster.Map()
	for ; w.next < uint32(m.Partitions); w.next++ {
		w.s.metrics.sweepPartition.Set(float64(w.next))
		for _, d := range m.Drives {
			t := w.s.target(d.ID)
			lister, ok := t.drive.(Lister)
			if !ok || t.health.reads.open() {
				continue // down, suspect or unable: the next pass may see it
			}
			if err := w.sweepPartition(ctx, t, lister, w.next); err != nil {
				return err
			}
		}
	}
	w.next = 0
	return nil
}

// listBatch is how many shards are looked at together.
const listBatch = 1000

// sweepPartition removes the orphans of one partition on one drive.
func (w *Sweep) sweepPartition(ctx context.Context, t target, lister Lister, partition uint32) error {
	after := placement.ShardID{}
	for {
		list, err := lister.List(ctx, partition, after, listBatch)
		if err != nil || len(list) == 0 {
			return err
		}
		after = list[len(list)-1].ID
		orphans, err := w.orphans(ctx, list)
		if err != nil {
			return err
		}
		if err := deleteFrom(ctx, t, orphans); err != nil {
			return err
		}
		if len(orphans) > 0 {
			w.s.metrics.orphansRemoved.Add(float64(len(orphans)))
			w.s.config.Logger.Info("orphan shards removed", slog.String("drive", t.health.id.String()), slog.Int("shards", len(orphans)))
		}
		if err := pace.Pause(ctx, time.Duration(len(list))*time.Second/time.Duration(w.config.ShardsPerSecond)); err != nil {
			return err
		}
		if len(list) < listBatch {
			return nil
		}
	}
}

// orphans picks the old shards whose blobs are neither live nor in use here.
func (w *Sweep) orphans(ctx context.Context, list []shardstore.Info) ([]placement.ShardID, error) {
	born := time.Now().Add(-w.config.Age).Unix()
	var blobs []placement.BlobID // of the old shards; each once, as the list is ordered
	for i := range list {
		id := list[i].ID.Blob
		if list[i].Written < born && (len(blobs) == 0 || blobs[len(blobs)-1] != id) {
			blobs = append(blobs, id)
		}
	}
	if len(blobs) == 0 {
		return nil, nil
	}
	live, err := w.live.BlobsLive(ctx, blobs)
	if err != nil {
		return nil, err
	}
	dead := make(map[placement.BlobID]bool)
	for i, id := range blobs {
		dead[id] = !live[i] && !w.s.pins.has(id)
	}
	var orphans []placement.ShardID
	for i := range list {
		if list[i].Written < born && dead[list[i].ID.Blob] {
			orphans = append(orphans, list[i].ID)
		}
	}
	return orphans, nil
}
