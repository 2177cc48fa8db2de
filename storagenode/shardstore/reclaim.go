package shardstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"kintsugi/internal/directio"
	"kintsugi/placement"
)

// punchBytes must have died in a segment before holes are punched, on a drive with room.
const punchBytes = 4 << 20

// reclaim wins back the dead space of a sealed segment: an empty one is used
// again, one that is less than half needed is copied, and of the others the dead
// ranges are given back in place.
func (s *Store) reclaim(ctx context.Context, seg *segment, crumbs bool) error {
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
		if err := s.punch(seg, live); err != nil {
			return err
		}
	}
	if live < used/2 || crumbs && s.isCrumb(seg) {
		err := s.compact(ctx, seg)
		if isFull(err) || errors.Is(err, ErrFailed) || ctx.Err() != nil {
			return nil // at another time
		}
		return err
	}
	return nil
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
	err := s.listRecords(seg, func(r *record) {
		if e := s.index.get(r.ID); e.gen == r.gen && e.off == r.off && e.state != stateNone {
			keep = append(keep, span{int64(r.off), int64(r.off) + r.length()})
		}
	})
	if err != nil {
		return err
	}
	slices.SortFunc(keep, func(a, b span) int { return cmp.Compare(a.from, b.from) })
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

// compact copies what is needed of a segment and then uses the segment again.
func (s *Store) compact(ctx context.Context, seg *segment) error {
	var list []record
	err := s.listRecords(seg, func(r *record) {
		if e := s.index.get(r.ID); e.gen == r.gen && e.off == r.off {
			list = append(list, *r)
		}
	})
	if err != nil {
		return err
	}
	pace := newPace(s.cfg.CompactBytesPerSecond)
	for i := range list {
		if err := pace.wait(ctx, list[i].length()); err != nil {
			return err
		}
		if err := s.move(ctx, seg, &list[i]); err != nil {
			return err
		}
	}
	if s.index.liveBytes(seg.gen) > 0 {
		return nil // something came back or is not listed; it stays
	}
	return s.recycle(seg)
}

// move copies one record, with its sequence, to where new ones are written.
func (s *Store) move(ctx context.Context, seg *segment, r *record) error {
	e := s.index.get(r.ID)
	if e.gen != r.gen || e.off != r.off || e.state == stateNone {
		return nil
	}
	w := write{record: *r, from: &e}
	switch e.state {
	case stateCorrupt:
		s.index.forgetCorrupt(e)
		return nil
	case stateTombstone, stateDropped:
		if s.index.expire(r.ID, s.tombstoneLimit(), seg.gen) {
			return nil
		}
		return s.putPacked(ctx, &w, nil)
	}
	rec, err := s.readDirect(seg, &e)
	if err != nil {
		if isTransient(err) {
			return err
		}
		s.logError("record lost in compaction", s.wrap(r.ID, err))
		if s.condemn(e, err) == ErrCorrupt {
			return s.move(ctx, seg, r)
		}
		return err
	}
	at := payloadOffset(int64(r.size))
	payload := rec[at : at+int64(r.size)]
	s.stats.moved.Add(int64(len(payload)))
	if r.size < directLimit {
		return s.putPacked(ctx, &w, payload)
	}
	return s.putDirect(ctx, &w, payload)
}

// Scrub reads every shard from the medium, at most bytesPerSecond (0: as fast as
// it can), and reports those that are damaged; Put writes them anew.
func (s *Store) Scrub(ctx context.Context, bytesPerSecond int64, report func(placement.ShardID, error)) error {
	pace := newPace(bytesPerSecond)
	for _, seg := range s.allSegments() {
		err := s.scrubSegment(ctx, seg, pace, report)
		seg.release()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) scrubSegment(ctx context.Context, seg *segment, pace *pace, report func(placement.ShardID, error)) error {
	for _, e := range s.index.inSegment(seg.gen) {
		if err := s.usable(ctx); err != nil {
			return err
		}
		if err := pace.wait(ctx, e.length()); err != nil {
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

// pace bounds the rate of background work.
type pace struct {
	perSecond int64
	due       time.Time
}

func newPace(bytesPerSecond int64) *pace {
	return &pace{perSecond: bytesPerSecond, due: time.Now()}
}

// wait waits until another n bytes are due.
func (p *pace) wait(ctx context.Context, n int64) error {
	if p.perSecond <= 0 {
		return ctx.Err()
	}
	delay := time.Until(p.due)
	if delay < 0 {
		p.due = p.due.Add(-delay) // time without work is no credit
	}
	p.due = p.due.Add(time.Duration(float64(n) / float64(p.perSecond) * float64(time.Second)))
	if delay < 10*time.Millisecond {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
