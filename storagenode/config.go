package storagenode

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"kintsugi/erasure"
	"kintsugi/placement"
)

// Config of a Reconciler. Zero values mean the defaults; only Drive is required.
type Config struct {
	Drive placement.DriveID // the drive that it works for

	// BytesPerSecond bounds what it reads and writes; 0 means 256 MiB, negative no bound.
	// While Busy says that there is foreground traffic it takes a quarter of it.
	BytesPerSecond int64
	Busy           func() bool

	// Settle is the age below which a chunk that lacks shards is left to its writer; 0 means 10 s.
	Settle time.Duration
	// Retry is the first pause before something is tried again; it doubles up to 256 times as much. 0 means 2 s.
	Retry time.Duration
	// FullPass is the time between two comparisons of every shard with the other
	// drives; in between only what changed is looked at. 0 means 12 h, negative never.
	FullPass time.Duration

	// Hint is told shards that are missing or damaged on other drives; it passes
	// them to the Reconcilers of their homes and must not block.
	Hint func(placement.ShardID)
	// Clean is told partitions whose transition is over: their homes under the map of
	// this epoch have all shards. It is told again until the map says so.
	Clean func(epoch uint64, partitions []uint32)

	Codes   *erasure.Cache // shared with others; nil: an own one
	Metrics *Metrics       // nil: none
	Logger  *slog.Logger   // nil: discard
}

const defaultBytesPerSecond = 256 << 20

func (c Config) withDefaults() (Config, error) {
	if c.Drive.IsZero() {
		return c, errors.New("storagenode: no drive")
	}
	c.BytesPerSecond = cmp.Or(c.BytesPerSecond, defaultBytesPerSecond)
	c.Settle = cmp.Or(c.Settle, 10*time.Second)
	c.Retry = cmp.Or(c.Retry, 2*time.Second)
	c.FullPass = cmp.Or(c.FullPass, 12*time.Hour)
	if c.Hint == nil {
		c.Hint = func(placement.ShardID) {}
	}
	if c.Clean == nil {
		c.Clean = func(uint64, []uint32) {}
	}
	if c.Codes == nil {
		c.Codes = new(erasure.Cache)
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Logger = c.Logger.With(slog.String("drive", c.Drive.String()))
	return c, nil
}
