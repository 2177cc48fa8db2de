package shardstore

import (
	"context"

	"kintsugi/internal/pace"
	"kintsugi/placement"
)

// Scrub reads every shard from the medium, at most bytesPerSecond (0: as fast as
// it can), and reports those that are damaged; Put writes them anew.
func (s *Store) Scrub(ctx context.Context, bytesPerSecond int64, report func(placement.ShardID, error)) error {
	rate := &pace.Pace{PerSecond: bytesPerSecond}
	for _, seg := range s.allSegments() {
		err := s.scrubSegment(ctx, seg, rate, report)
		seg.release()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) scrubSegment(ctx context.Context, seg *segment, rate *pace.Pace, report func(placement.ShardID, error)) error {
	for _, e := range s.index.inSegment(seg.gen) {
		if e.state != stateLive && e.state != stateCorrupt {
			continue
		}
		if err := s.usable(ctx); err != nil {
			return err
		}
		if err := rate.Wait(ctx, e.length()); err != nil {
			return err
		}
		if e.state == stateLive {
			_, err := s.readDirect(seg, &e)
			if err == nil {
				continue
			}
			if now := s.index.get(e.id()); now.gen != e.gen || now.off != e.off || now.state != stateLive {
				continue // moved or deleted meanwhile
			}
			if err := s.condemn(e, err); err != ErrCorrupt {
				return err
			}
		}
		report(e.id(), s.wrap(e.id(), ErrCorrupt))
	}
	return nil
}
