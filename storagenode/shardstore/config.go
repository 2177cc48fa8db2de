package shardstore

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/placement"
)

// Config is how a store keeps its segments. The zero value of each field but
// Drive is a good one.
type Config struct {
	// Drive is written into every segment; segments of another drive are refused.
	Drive placement.DriveID

	// SegmentSize is the length of a segment file in bytes: 256 MiB if zero.
	// A shard must fit into one.
	SegmentSize int64
	// GrowBytes is how much of a segment is allocated at a time: 16 MiB if zero.
	GrowBytes int64
	// ReserveBytes is set aside for tombstones on a full drive: a 64th of
	// SegmentSize if zero, at least 64 KiB.
	ReserveBytes int64
	// MinFreeBytes of the filesystem are left to others: 64 MiB, or a 50th of a
	// smaller filesystem, if zero; none if negative.
	MinFreeBytes int64

	// TombstoneAge is how long, at least, a deleted shard cannot be written again: 24 h if zero.
	TombstoneAge time.Duration
	// CompactBytesPerSecond bounds what compaction copies: 32 MiB if zero.
	CompactBytesPerSecond int64
	// TidyInterval is the time between looks for space to win back: 1 s if zero.
	TidyInterval time.Duration
	// WatchInterval is the time between looks whether the directory is still there: 500 ms if zero.
	WatchInterval time.Duration

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics

	disk disk // nil: the real one
}

// withDefaults fills in the zero fields.
func (c Config) withDefaults() Config {
	c.SegmentSize = cmp.Or(c.SegmentSize, defaultSegmentSize)
	c.GrowBytes = cmp.Or(c.GrowBytes, 16<<20)
	c.ReserveBytes = cmp.Or(c.ReserveBytes, max(c.SegmentSize/64, 64<<10))
	c.TombstoneAge = cmp.Or(c.TombstoneAge, 24*time.Hour)
	c.CompactBytesPerSecond = cmp.Or(c.CompactBytesPerSecond, 32<<20)
	c.TidyInterval = cmp.Or(c.TidyInterval, time.Second)
	c.WatchInterval = cmp.Or(c.WatchInterval, 500*time.Millisecond)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.disk == nil {
		c.disk = linuxDisk{}
	}
	return c
}

// minFree is what is left to others on a filesystem of this size.
func (c Config) minFree(capacity int64) int64 {
	if c.MinFreeBytes == 0 {
		return min(64<<20, capacity/50)
	}
	return max(c.MinFreeBytes, 0)
}

// Validate tells what is wrong with c.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.SegmentSize < 256<<10 || c.SegmentSize > maxSegmentSize || c.SegmentSize%4096 != 0:
		return fmt.Errorf("shardstore: segment size %d: want a multiple of 4096 from 256 KiB to 2 GiB", c.SegmentSize)
	case c.ReserveBytes < 8<<10 || c.ReserveBytes%4096 != 0 || c.ReserveBytes > c.SegmentSize/2:
		return fmt.Errorf("shardstore: reserve of %d bytes: want a multiple of 4096 from 8 KiB to half a segment", c.ReserveBytes)
	case c.GrowBytes < 0 || c.GrowBytes%4096 != 0:
		return fmt.Errorf("shardstore: growth by %d bytes: want a multiple of 4096", c.GrowBytes)
	}
	return nil
}
