package shardstore

import (
	"errors"
	"log/slog"
	"slices"

	"kintsugi/internal/directio"
)

// commitLoop makes writes durable, a group at a time: whatever arrives while one
// sync runs shares the next.
func (s *Store) commitLoop() {
	for {
		batches, finished := s.take()
		switch {
		case len(batches) > 0:
			s.commit(batches)
		case finished:
			return
		default:
			<-s.wake
		}
	}
}

// take returns what is queued; finished tells that nothing can come any more.
func (s *Store) take() (batches []*batch, finished bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	batches = s.queue
	s.queue = nil
	s.current = [2]*batch{}
	if len(batches) >= queueLimit {
		close(s.room)
		s.room = make(chan struct{})
	}
	return batches, s.closed && len(s.open) == 0 && len(batches) == 0
}

// commit writes what is packed, syncs, and only then tells the index and the callers.
func (s *Store) commit(batches []*batch) {
	var touched []*segment
	touch := func(seg *segment) {
		if seg != nil && !slices.Contains(touched, seg) {
			touched = append(touched, seg)
		}
	}
	for _, b := range batches {
		b.filling.Wait()
		s.writePacked(b)
		touch(b.seg)
		for i := range b.writes {
			touch(b.writes[i].seg)
		}
	}
	for _, seg := range touched {
		if s.Err() != nil {
			break
		}
		if err := s.syncSegment(seg); err != nil {
			s.fail(err)
		}
	}
	for _, b := range batches {
		s.settle(b)
	}
}

// syncSegment makes a segment durable and sees that it still has a name.
func (s *Store) syncSegment(seg *segment) error {
	s.stats.syncs.Add(1)
	if err := s.disk.sync(seg.write); err != nil {
		return err
	}
	if n, err := linkCount(seg.write); err != nil {
		return err
	} else if n == 0 {
		return errVanished
	}
	return nil
}

// writePacked gives the batch's buffer a place, completes its headers and writes it.
func (s *Store) writePacked(b *batch) {
	if b.used == 0 {
		return
	}
	if s.Err() != nil {
		b.refuse(ErrFailed)
		return
	}
	length := directio.Align(int64(b.used))
	s.mu.Lock()
	seg, off, err := s.place(length, b.deletes)
	durable := s.durable()
	s.mu.Unlock()
	if err != nil {
		b.refuse(s.judge(err))
		return
	}
	b.seg = seg
	for i := range b.writes {
		w := &b.writes[i]
		if w.at < 0 {
			continue
		}
		w.gen, w.off, w.durable = seg.gen, uint32(off)+uint32(w.at), durable
		w.encode(b.buf[w.at:], s.drive)
	}
	clear(b.buf[b.used:length])
	if err := s.disk.write(seg.write, [][]byte{b.buf[:length]}, off); err != nil {
		b.refuse(s.judge(err))
	}
}

// refuse gives all packed writes of the batch an error.
func (b *batch) refuse(err error) {
	for i := range b.writes {
		if b.writes[i].at >= 0 {
			b.writes[i].err = err
		}
	}
}

// settle takes a batch that was synced into the index and answers its callers.
func (s *Store) settle(b *batch) {
	failed := s.Err() != nil
	for i := range b.writes {
		w := &b.writes[i]
		if failed {
			w.err = ErrFailed
		}
		if w.err == nil {
			s.settleWrite(b, w)
		}
	}
	s.mu.Lock()
	for i := range b.writes {
		w := &b.writes[i]
		if w.kind == kindTombstone && w.from == nil {
			s.undelete(w)
		}
		if w.at < 0 {
			w.seg.inflight--
			s.closeToken(w.token)
		}
	}
	if b.seg != nil {
		b.seg.inflight--
	}
	s.closeToken(b.token)
	s.mu.Unlock()
	if buf := b.buf; buf != nil {
		batchBuffers.Put(&buf)
	}
	close(b.done)
}

// settleWrite takes one durable record into the index and the hint.
func (s *Store) settleWrite(b *batch, w *write) {
	seg := w.seg
	if w.at >= 0 {
		seg = b.seg
	}
	if w.from != nil {
		s.index.relocate(*w.from, w.gen, w.off)
	} else {
		w.err = s.index.apply(&w.record)
	}
	if seg.hint == nil {
		seg.hint = s.continueHint(seg)
	}
	seg.hint.add(&w.record)
}

// continueHint starts the list of a segment, with what an earlier list had when
// the segment goes on after a restart.
func (s *Store) continueHint(seg *segment) *hintWriter {
	w := newHintWriter(s.root, seg, s.drive)
	if seg.resumed {
		if _, err := readHint(s.root, seg.name+hintSuffix, s.drive, seg.gen, w.add); err != nil && w.err == nil {
			w.err = err
		}
	}
	return w
}

// undelete ends the time in which a tombstone is under way. The caller holds mu.
func (s *Store) undelete(w *write) {
	if s.deleting[w.ID]--; s.deleting[w.ID] <= 0 {
		delete(s.deleting, w.ID)
	}
}

// place reserves n bytes in a segment that takes writes. The caller holds mu and
// must see that the segment's inflight is lowered again.
func (s *Store) place(n int64, deletes bool) (*segment, int64, error) {
	floor := s.cfg.MinFreeBytes
	if deletes {
		floor = 0
	}
	for {
		if s.active == nil {
			if err := s.activate(floor); err != nil {
				return s.placeInReserve(n, deletes, err)
			}
		}
		seg := s.active
		if seg.next+n <= seg.capacity {
			if err := s.grow(seg, seg.next+n, floor); err != nil {
				return s.placeInReserve(n, deletes, err)
			}
			s.full = s.full && deletes
			return seg, seg.take(n), nil
		}
		s.retire(seg)
		s.active = nil
	}
}

// placeInReserve finds room for tombstones when the drive is full.
func (s *Store) placeInReserve(n int64, deletes bool, err error) (*segment, int64, error) {
	seg := s.reserve
	if !isFull(err) || !deletes || seg == nil || seg.next+n > seg.allocated {
		return nil, 0, err
	}
	return seg, seg.take(n), nil
}

func (seg *segment) take(n int64) int64 {
	off := seg.next
	seg.next += n
	seg.inflight++
	return off
}

// activate makes the spare segment, or a new one, take the writes. The caller holds mu.
func (s *Store) activate(floor int64) error {
	if s.spare != nil {
		s.active, s.spare = s.spare, nil
		s.wakeTidy()
		return nil
	}
	free, err := s.freeBytes()
	if err != nil {
		return err
	}
	if free < floor+segmentHeadSize {
		return ErrFull
	}
	seg, err := s.createSegment(s.gen+1, s.cfg.SegmentSize)
	if err != nil {
		return err
	}
	s.gen++
	s.addSegment(seg)
	s.active = seg
	return nil
}

// retire ends a segment: the housekeeper seals it once nothing is in flight. The caller holds mu.
func (s *Store) retire(seg *segment) {
	seg.retired = true
	s.wakeTidy()
}

// judge turns an error of a write into what the caller gets to see. A full drive
// goes on; anything else that is the drive's doing makes it fail.
func (s *Store) judge(err error) error {
	switch {
	case isFull(err):
		s.mu.Lock()
		s.full = true
		s.mu.Unlock()
		s.wakeTidy()
		return ErrFull
	case isTransient(err), errors.Is(err, ErrFailed):
		return err
	}
	s.fail(err)
	return ErrFailed
}

// logError notes an error that has no caller to return to and costs no data.
func (s *Store) logError(message string, err error) {
	if err != nil && s.Err() == nil {
		s.log.Warn(message, slog.Any("error", err))
	}
}
