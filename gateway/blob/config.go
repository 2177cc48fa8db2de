package blob

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/erasure"
	"kintsugi/placement"
)

// Config tunes a Store. The zero value is usable.
type Config struct {
	// ChunkSize is the largest chunk, in bytes; 0 means erasure.ChunkSize. While many
	// bodies are written at once a blob may be cut smaller, so that memory stays bounded.
	ChunkSize int64
	// MinChunkSize is the smallest such cut, in bytes; 0 means 1 MiB.
	MinChunkSize int64

	// WriteMemory, ScratchMemory and ReadMemory bound the buffers in flight, in bytes; 0 means 64, 48 and 32 MiB.
	WriteMemory   int64
	ScratchMemory int64
	ReadMemory    int64
	// ReadWindow is the most that a Reader fetches at once, in bytes; 0 means 2 MiB. With
	// many readers it shrinks, down to 128 KiB.
	ReadWindow int64

	// ReadHedgeMin and ReadHedgeMax bound the time after which a read that its drive has not answered
	// is made up for by parity: the drive's own 95th percentile in between. 0 means 5 and 50 ms.
	ReadHedgeMin time.Duration
	ReadHedgeMax time.Duration
	// WriteHedge is when, at the earliest, a shard that its drive has not stored is given to a
	// substitute, or left to repair if enough others are durable; 0 means 150 ms. It counts only once k shards are
	// durable and is at least three times what those took: where all are slow, none is.
	WriteHedge time.Duration
	// WriteGiveUp is when, at the earliest and at least after six times as long as the k-th shard took, a chunk that
	// misses its quorum is written anew in a narrower code; 0 means 1 s.
	WriteGiveUp time.Duration
	// ReadTimeout and WriteTimeout end the wait for drives that neither answer nor fail, where more than m do so; 0
	// means 10 and 30 s.
	ReadTimeout  time.Duration
	WriteTimeout time.Duration

	// BreakerFailures in a row make a drive suspect; 0 means 3. It is then left alone for BreakerPause, doubled up to
	// BreakerPauseMax by every probe that fails; 0 means 1 s and 30 s.
	BreakerFailures int
	BreakerPause    time.Duration
	BreakerPauseMax time.Duration

	// Hint is told of shards that are missing or corrupt, so that they are repaired soon. It must not block. May be nil.
	Hint func(placement.ShardID)

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: no metrics
}

// Validate reports values that cannot work together.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.ChunkSize > maxChunkSize || c.MinChunkSize < minChunkSize || c.MinChunkSize > c.ChunkSize:
		return fmt.Errorf("blob: chunk sizes %d and %d are not within %d..%d", c.MinChunkSize, c.ChunkSize, minChunkSize, maxChunkSize)
	case c.WriteMemory < c.ChunkSize:
		return fmt.Errorf("blob: write memory %d holds no chunk of %d bytes", c.WriteMemory, c.ChunkSize)
	case c.ReadMemory < minReadWindow || c.ReadWindow < minReadWindow:
		return fmt.Errorf("blob: read memory %d and window %d must be at least %d", c.ReadMemory, c.ReadWindow, minReadWindow)
	case c.ReadHedgeMin > c.ReadHedgeMax:
		return fmt.Errorf("blob: hedge times %v and %v are the wrong way round", c.ReadHedgeMin, c.ReadHedgeMax)
	}
	return nil
}

const (
	maxChunkSize  = 64 << 20
	minChunkSize  = 4 << 10
	minReadWindow = 128 << 10
)

func (c Config) withDefaults() Config {
	c.ChunkSize = cmp.Or(c.ChunkSize, erasure.ChunkSize)
	c.MinChunkSize = cmp.Or(c.MinChunkSize, min(1<<20, c.ChunkSize))
	c.WriteMemory = cmp.Or(c.WriteMemory, max(64<<20, c.ChunkSize))
	c.ScratchMemory = cmp.Or(c.ScratchMemory, 48<<20)
	c.ReadMemory = cmp.Or(c.ReadMemory, 32<<20)
	c.ReadWindow = cmp.Or(c.ReadWindow, 2<<20)
	c.ReadHedgeMin = cmp.Or(c.ReadHedgeMin, 5*time.Millisecond)
	c.ReadHedgeMax = cmp.Or(c.ReadHedgeMax, 50*time.Millisecond)
	c.WriteHedge = cmp.Or(c.WriteHedge, 150*time.Millisecond)
	c.WriteGiveUp = cmp.Or(c.WriteGiveUp, time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 10*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 30*time.Second)
	c.BreakerFailures = cmp.Or(c.BreakerFailures, 3)
	c.BreakerPause = cmp.Or(c.BreakerPause, time.Second)
	c.BreakerPauseMax = cmp.Or(c.BreakerPauseMax, 30*time.Second)
	if c.Hint == nil {
		c.Hint = func(placement.ShardID) {}
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}
