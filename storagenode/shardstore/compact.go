package shardstore

import "context"

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
	m := mover{store: s, seg: seg, pace: newPace(s.cfg.CompactBytesPerSecond)}
	for i := range list {
		if err := m.move(ctx, &list[i]); err != nil {
			return err
		}
	}
	if err := m.flush(ctx); err != nil {
		return err
	}
	if s.index.liveBytes(seg.gen) > 0 {
		return nil // not everything was listed; it stays
	}
	return s.recycle(seg)
}

// mover copies the records of a segment to where new ones are written. They keep
// their sequence. Small ones go in a batch of its own, full as a rule: mixed with
// the batches of callers they would take 4 KiB each.
type mover struct {
	store *Store
	seg   *segment
	pace  *pace
	batch *batch
}

// move copies one record, unless it is not needed any more.
func (m *mover) move(ctx context.Context, r *record) error {
	s := m.store
	if err := m.pace.wait(ctx, r.length()); err != nil {
		return err
	}
	e := s.index.get(r.ID)
	if e.gen != r.gen || e.off != r.off {
		return nil
	}
	switch e.state {
	case stateCorrupt:
		s.index.forgetCorrupt(e)
		return nil
	case stateTombstone, stateDropped:
		if s.index.expire(r.ID, s.tombstoneLimit(), m.seg.gen) {
			return nil
		}
		return m.pack(ctx, r, &e, nil)
	case stateLive:
		return m.movePayload(ctx, r, &e)
	}
	return nil
}

func (m *mover) movePayload(ctx context.Context, r *record, e *entry) error {
	s := m.store
	rec, err := s.readDirect(m.seg, e)
	if err != nil {
		if err = s.condemn(*e, err); err == ErrCorrupt {
			s.logError("shard lost in compaction", s.wrap(r.ID, err))
			s.index.forgetCorrupt(s.index.get(r.ID))
			return nil
		}
		return err
	}
	at := payloadOffset(int64(r.size))
	payload := rec[at : at+int64(r.size)]
	s.stats.moved.Add(int64(len(payload)))
	if r.size < directLimit {
		return m.pack(ctx, r, e, payload)
	}
	return s.putDirect(ctx, &write{record: *r, from: e}, payload)
}

// pack adds a small record to the batch.
func (m *mover) pack(ctx context.Context, r *record, e *entry, payload []byte) error {
	length := int(r.length())
	if m.batch != nil && m.batch.used+length > batchBytes {
		if err := m.flush(ctx); err != nil {
			return err
		}
	}
	if m.batch == nil {
		m.batch = &batch{done: make(chan struct{}), buf: *batchBuffers.Get().(*[]byte)}
	}
	b := m.batch
	b.add(write{record: *r, from: e}, length)
	fillRecord(b.buf[b.used-length:b.used], r.ID, payload)
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
