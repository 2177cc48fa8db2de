package shardstore

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"kintsugi/internal/directio"
)

// punchBytes must have died in a segment before holes are punched, on a drive with room.
const punchBytes = 4 << 20

// reclaim wins back the dead space of a sealed segment without copying: an empty
// one is used again, of others the dead ranges are given back in place.
func (s *Store) reclaim(seg *segment) error {
	if !seg.sealed.Load() || s.segmentGone(seg) {
		return nil
	}
	s.mu.Lock()
	used, full := seg.next-segmentHeadSize, s.full
	s.mu.Unlock()
	live := s.index.liveBytes(seg.gen)
	if live == 0 {
		return s.recycle(seg)
	}
	if (seg.punchedAt.Load() < 0 && used-live >= punchBytes) || seg.punchedAt.Load()-live >= punchBytes ||
		full && used-live > 0 && seg.punchedAt.Load() != live {
		return s.punch(seg, live)
	}
	return nil
}

// compactIfWorth copies what is needed of a sealed segment if that is less than
// half of it, or if it is one of many crumbs.
func (s *Store) compactIfWorth(ctx context.Context, seg *segment, crumbs bool) error {
	if ctx.Err() != nil || !seg.sealed.Load() || s.segmentGone(seg) {
		return nil
	}
	s.mu.Lock()
	used := seg.next - segmentHeadSize
	s.mu.Unlock()
	if s.index.liveBytes(seg.gen) >= used/2 && !(crumbs && s.isCrumb(seg)) {
		return nil
	}
	err := s.compact(ctx, seg)
	if isFull(err) || errors.Is(err, ErrFailed) || ctx.Err() != nil {
		return nil // at another time
	}
	return err
}

// crumbLimit is how many crumbs are left alone.
const crumbLimit = 8

// isCrumb tells whether the segment was cut short, by a crash or a full drive. It
// would stay small for ever; when there are many they are copied together.
func (s *Store) isCrumb(seg *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return seg.sealed.Load() && seg.next < s.cfg.SegmentSize/4
}

func (s *Store) segmentGone(seg *segment) bool {
	s.segMu.RLock()
	defer s.segMu.RUnlock()
	return s.segments[seg.gen] != seg
}

// span is a range of a segment file, in bytes.
type span struct{ from, to int64 }

// punch gives the dead ranges of a segment back to the filesystem.
func (s *Store) punch(seg *segment, live int64) error {
	var keep []span
	for _, e := range s.index.inSegment(seg.gen) {
		keep = append(keep, span{int64(e.off), int64(e.off) + e.length()})
	}
	s.mu.Lock()
	keep = append(keep, span{from: seg.next})
	s.mu.Unlock()
	at := int64(segmentHeadSize)
	for _, k := range keep {
		hole := span{directio.Align(at), k.from &^ (directio.BlockSize - 1)}
		at = k.to
		if hole.to <= hole.from {
			continue
		}
		if err := directio.PunchHole(seg.write, hole.from, hole.to-hole.from); err != nil {
			if errors.Is(err, unix.EOPNOTSUPP) {
				break // compaction will do
			}
			return err
		}
		s.stats.punched.Add(hole.to - hole.from)
	}
	seg.punchedAt.Store(live)
	return nil
}
