package shardstore

import (
	"context"
	"sync"
	"time"

	"kintsugi/internal/directio"
)

// tidyLoop is the housekeeper: it seals retired segments, gives dead space back
// and keeps an empty segment ready.
func (s *Store) tidyLoop() {
	tick := time.NewTicker(s.cfg.TidyInterval)
	defer tick.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { // so that a compaction under way ends with the store
		select {
		case <-s.stop:
		case <-s.failed:
		case <-ctx.Done():
		}
		cancel()
	})
	expired := time.Now()
	for {
		wake := s.tidy
		if s.isFull() {
			wake = nil // every refused write wakes; looking that often gains nothing
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-tick.C:
		}
		if interval := min(time.Hour, s.cfg.TombstoneAge/4); time.Since(expired) >= interval {
			s.index.expireAll(s.tombstoneLimit())
			expired = time.Now()
		}
		if err := s.tidyOnce(ctx); err != nil && !isFull(err) && !isTransient(err) && ctx.Err() == nil {
			s.fail(err)
			return
		}
	}
}

func (s *Store) isFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}

func (s *Store) wakeTidy() {
	select {
	case s.tidy <- struct{}{}:
	default:
	}
}

// tidyOnce does what is due.
func (s *Store) tidyOnce(ctx context.Context) error {
	s.tidying.Lock()
	defer s.tidying.Unlock()
	if s.usable(ctx) != nil {
		return nil
	}
	s.retireWhenFull()
	segs := s.allSegments()
	defer func() {
		for _, seg := range segs {
			seg.release()
		}
	}()
	crumbs := 0
	for _, seg := range segs {
		s.sealIfRetired(seg)
		if s.isCrumb(seg) {
			crumbs++
		}
	}
	for _, seg := range segs {
		if err := s.reclaim(seg); err != nil {
			return err
		}
	}
	if err := s.prepare(); err != nil && !isFull(err) {
		return err
	}
	for _, seg := range segs { // last, for it takes its time
		if err := s.compactIfWorth(ctx, seg, crumbs >= crumbLimit); err != nil {
			return err
		}
	}
	return s.noticeRoom()
}

// noticeRoom ends the full state without waiting for a write to succeed: whoever
// asks Usage sends none while it says full.
func (s *Store) noticeRoom() error {
	free, err := s.freeBytes()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if free >= s.cfg.MinFreeBytes+s.cfg.GrowBytes {
		s.full = false
	}
	return nil
}

// retireWhenFull ends the active segment of a full drive if much of it is dead:
// only then can the space come back.
func (s *Store) retireWhenFull() {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.active
	if !s.full || seg == nil {
		return
	}
	if used := seg.next - segmentHeadSize; used > 0 && s.index.liveBytes(seg.gen) < used-used/4 {
		s.retire(seg)
		s.active = nil
	}
}

// prepare keeps an empty segment and a reserve for tombstones ready.
func (s *Store) prepare() error {
	s.mu.Lock()
	needSpare, gen := s.spare == nil && s.active != nil, s.gen
	needReserve := s.reserve == nil || s.reserve.next > s.reserve.capacity/2
	s.mu.Unlock()
	floor := s.cfg.MinFreeBytes
	if needReserve {
		seg, err := s.newSegment(s.cfg.ReserveBytes, floor+s.cfg.ReserveBytes)
		if err != nil {
			return err
		}
		if err := s.disk.allocate(seg.write, seg.capacity); err != nil {
			return s.giveUp(seg, err)
		}
		seg.allocated = seg.capacity
		s.mu.Lock()
		if s.reserve != nil {
			s.retire(s.reserve)
		}
		s.reserve = seg
		s.mu.Unlock()
	}
	if needSpare || gen == 0 {
		seg, err := s.newSegment(s.cfg.SegmentSize, floor+segmentHeadSize)
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.spare != nil {
			return nil
		}
		s.spare = seg
	}
	return nil
}

// newSegment makes an empty segment if that leaves floor bytes free.
func (s *Store) newSegment(capacity, floor int64) (*segment, error) {
	free, err := s.freeBytes()
	if err != nil {
		return nil, err
	}
	if free < floor {
		return nil, ErrFull
	}
	s.mu.Lock()
	s.gen++
	gen := s.gen
	s.mu.Unlock()
	seg, err := s.createSegment(gen, capacity)
	if err != nil {
		return nil, err
	}
	s.addSegment(seg)
	return seg, nil
}

// giveUp removes a segment that could not be made ready.
func (s *Store) giveUp(seg *segment, err error) error {
	if derr := s.discard(seg); derr != nil {
		return derr
	}
	return err
}

// sealIfRetired writes the list of a segment that nobody writes to any more.
func (s *Store) sealIfRetired(seg *segment) {
	s.mu.Lock()
	ready := seg.retired && seg.inflight == 0
	end, durable, maxSeq := seg.next, s.durable(), s.seq
	s.mu.Unlock()
	if !ready || seg.sealed.Load() {
		return
	}
	if seg.hint == nil {
		seg.hint = newHintWriter(s.root, seg, s.drive)
		seg.hint.err = s.listRecords(seg, seg.hint.add)
	}
	s.logError("list of a segment not written", seg.hint.finish(hintTrailer{sealed: true, end: end, maxSeq: maxSeq, durable: durable}))
	seg.hint = nil
	// What was allocated in advance and not used goes back.
	if err := seg.write.Truncate(end); err != nil {
		s.logError("unused end of a segment kept", err)
	}
	seg.sealed.Store(true)
}

// sealForClose lists the active segment, so that the next opening need not scan it.
func (s *Store) sealForClose() {
	for _, seg := range s.allSegments() {
		s.sealIfRetired(seg)
		if seg.hint != nil && !seg.retired {
			t := hintTrailer{end: seg.next, maxSeq: s.seq, durable: s.durable()}
			s.logError("list of a segment not written", seg.hint.finish(t))
			seg.hint = nil
		}
		seg.release()
	}
}

// listRecords calls each for every record of a segment, dead ones included.
func (s *Store) listRecords(seg *segment, each func(*record)) error {
	sc := scanner{disk: s.disk, file: seg.read, drive: s.drive, gen: seg.gen, each: func(r *record, _ bool) {
		// Only what the index took, or has overtaken: not the remains of a torn write.
		if e := s.index.get(r.ID); e.state != stateNone && e.state != stateCorrupt && (e.seq > r.seq || e.gen == r.gen && e.off == r.off || e.seq == r.seq) {
			each(r)
		}
	}}
	_, err := sc.run(segmentHeadSize)
	return err
}

// recycle makes an emptied segment the spare one, with a new generation, or removes it.
func (s *Store) recycle(seg *segment) error {
	s.mu.Lock()
	wanted := s.spare == nil && seg.capacity == s.cfg.SegmentSize && !s.full
	s.mu.Unlock()
	if !wanted {
		return s.discard(seg)
	}
	fresh, err := s.openFiles(seg.name, 0)
	if err != nil {
		return err
	}
	if err := removeFile(s.root, seg.name+hintSuffix); err != nil {
		fresh.close()
		return err
	}
	s.mu.Lock()
	s.gen++
	fresh.gen, fresh.capacity = s.gen, seg.capacity
	s.mu.Unlock()
	if st, err := fresh.read.Stat(); err == nil && seg.punchedAt.Load() < 0 {
		fresh.allocated = directio.Align(st.Size()) // every block is still there
	}
	if err := s.writeHead(fresh); err != nil {
		fresh.close()
		return err
	}
	s.forgetSegment(seg.gen)
	seg.release()
	s.addSegment(fresh)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spare == nil {
		s.spare = fresh
		return nil
	}
	fresh.retired = true // another one came first; this one goes at the next look
	fresh.sealed.Store(true)
	return nil
}
