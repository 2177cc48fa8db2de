package storagenode

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// ScrubbedDrive is what a Scrubber needs of its drive.
type ScrubbedDrive interface {
	// Scrub reads every shard once, at most so many bytes per second, and reports those that are damaged.
	Scrub(ctx context.Context, bytesPerSecond int64, report func(placement.ShardID, error)) error
	Usage() shardstore.Usage
}

// ScrubConfig of a Scrubber. Zero values mean the defaults.
type ScrubConfig struct {
	// Interval is the time within which everything is read; 0 means 7 days.
	Interval time.Duration
	// MinBytesPerSecond is the least it reads while it reads; 0 means 4 MiB. The rate grows with what there is to read.
	MinBytesPerSecond int64
	// NowBytesPerSecond is the rate of a pass that ScrubNow asks for; 0 means 128 MiB.
	NowBytesPerSecond int64
	// Hint is told what is damaged; it passes it to the Reconciler of the drive and must not block.
	Hint    func(placement.ShardID)
	Metrics *Metrics     // nil: none
	Logger  *slog.Logger // nil: discard
}

// Scrubber reads all shards of one drive again and again, so that damage is
// found while there is enough left to repair it.
type Scrubber struct {
	cfg    ScrubConfig
	drive  ScrubbedDrive
	now    chan struct{}
	passes atomic.Uint64
}

// NewScrubber returns a Scrubber of a drive. It does nothing before Run.
func NewScrubber(cfg ScrubConfig, drive ScrubbedDrive) *Scrubber {
	if cfg.Interval <= 0 {
		cfg.Interval = 7 * 24 * time.Hour
	}
	if cfg.MinBytesPerSecond <= 0 {
		cfg.MinBytesPerSecond = 4 << 20
	}
	if cfg.NowBytesPerSecond <= 0 {
		cfg.NowBytesPerSecond = 128 << 20
	}
	if cfg.Hint == nil {
		cfg.Hint = func(placement.ShardID) {}
	}
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Scrubber{cfg: cfg, drive: drive, now: make(chan struct{}, 1)}
}

// ScrubNow has the drive read from end to end at once, at up to ScrubConfig.NowBytesPerSecond; a pass that is under way
// begins anew. It never blocks.
func (s *Scrubber) ScrubNow() {
	select {
	case s.now <- struct{}{}:
	default:
	}
}

// Passes counts the times that everything was read, since the start.
func (s *Scrubber) Passes() uint64 { return s.passes.Load() }

// Run scrubs until ctx ends, when it returns nil, or the drive fails. Half of the interval is
// for reading, so that a pass is done in time however often the process is started anew.
func (s *Scrubber) Run(ctx context.Context) error {
	hurry := false
	for {
		begun := time.Now()
		interrupted, err := s.pass(ctx, hurry)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, shardstore.ErrFailed):
			return err
		case interrupted:
			hurry = true
			continue
		case err != nil:
			s.cfg.Logger.Warn("a scrub ended early", slog.Any("error", err))
		default:
			s.passes.Add(1)
			s.cfg.Metrics.pass()
			s.cfg.Logger.Debug("scrub done", slog.Duration("took", time.Since(begun)))
		}
		rest := time.NewTimer(max(s.cfg.Interval/100, s.cfg.Interval-time.Since(begun)))
		select {
		case <-rest.C:
			hurry = false
		case <-s.now:
			hurry = true
		case <-ctx.Done():
		}
		rest.Stop()
	}
}

// pass reads everything once, unless ScrubNow interrupts it.
func (s *Scrubber) pass(ctx context.Context, hurry bool) (interrupted bool, err error) {
	rate := max(s.cfg.MinBytesPerSecond, int64(float64(s.drive.Usage().LiveBytes)/(s.cfg.Interval.Seconds()/2)))
	if hurry {
		rate = max(rate, s.cfg.NowBytesPerSecond)
	}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.drive.Scrub(reading, rate, s.found) }()
	select {
	case err := <-done:
		return false, err
	case <-s.now:
		cancel()
		<-done
		return true, nil
	}
}

func (s *Scrubber) found(id placement.ShardID, err error) {
	s.cfg.Logger.Warn("a shard is damaged", slog.String("shard", id.String()), slog.Any("error", err))
	s.cfg.Metrics.damaged()
	s.cfg.Hint(id)
}
