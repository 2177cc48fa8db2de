package shardstore

import (
	"context"

	"kintsugi/internal/pace"
)

// compact copies what is needed of a segment and then uses the segment again.
func (s *Store) compact(ctx context.Context, seg *segment) error {
	m := mover{store: s, seg: seg, pace: &pace.Pace{PerSecond: s.cfg.CompactBytesPerSecond}}
	for _, e := range s.index.inSegment(seg.gen) {
		if err := m.move(ctx, e); err != nil {
			return err
		}
	}
	if err := m.flush(ctx); err != nil {
		return err
	}
	if s.index.liveBytes(seg.gen) > 0 {
		return nil // a write came in between; at the next look
	}
	return s.recycle(seg)
}

// mover copies the records of a segment to where new ones are written. They keep
// their sequence. Small ones go in a batch of its own, full as a rule: mixed with
// the batches of callers they would take 4 KiB each.
type mover struct {
	store *Store
	seg   *segment
	pace  *pace.Pace
	batch *batch
}

// move copies one record, unless it is not needed any more.
func (m *mover) move(ctx context.Context, e entry) error {
	s := m.store
	if err := m.pace.Wait(ctx, e.length()); err != nil {
		return err
	}
	if now := s.index.get(e.id()); now.gen != e.gen || now.off != e.off || now.state != e.state {
		return nil
	}
	switch e.state {
	case stateCorrupt:
		s.index.forgetCorrupt(e)
		return nil
	case stateTombstone, stateDropped:
		if s.index.expire(e.id(), s.tombstoneLimit(), m.seg.gen) {
			return nil
		}
		return m.pack(ctx, &e, nil)
	}
	return m.movePayload(ctx, &e)
}

func (m *mover) movePayload(ctx context.Context, e *entry) error {
	s := m.store
	rec, err := s.readDirect(m.seg, e)
	if err != nil {
		if err = s.condemn(*e, err); err == ErrCorrupt {
			s.logError("shard lost in compaction", s.wrap(e.id(), err))
			s.index.forgetCorrupt(s.index.get(e.id()))
			return nil
		}
		return err
	}
	at := payloadOffset(int64(e.size))
	payload := rec[at : at+int64(e.size)]
	s.stats.moved.Add(int64(len(payload)))
	if e.size < directLimit {
		return m.pack(ctx, e, payload)
	}
	return s.putDirect(ctx, &write{record: e.record(), from: e}, payload)
}

// pack adds a small record to the batch.
func (m *mover) pack(ctx context.Context, e *entry, payload []byte) error {
	length := int(e.length())
	if m.batch != nil && m.batch.used+length > batchBytes {
		if err := m.flush(ctx); err != nil {
			return err
		}
	}
	if m.batch == nil {
		m.batch = &batch{done: make(chan struct{}), buf: *batchBuffers.Get().(*[]byte)}
	}
	b := m.batch
	b.add(write{record: e.record(), from: e}, length)
	fillRecord(b.buf[b.used-length:b.used], e.id(), payload)
	return nil
}

// flush commits the batch.
func (m *mover) flush(ctx context.Context) error {
	b, s := m.batch, m.store
	if b == nil {
		return nil
	}
	m.batch = nil
	s.mu.Lock()
	b.token = s.seq + 1
	s.open = append(s.open, b.token)
	s.queue = append(s.queue, b)
	s.mu.Unlock()
	s.wakeCommitter()
	return s.wait(ctx, b, len(b.writes)-1) // packed writes share one fate
}
