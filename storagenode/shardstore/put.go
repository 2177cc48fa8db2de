package shardstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"kintsugi/internal/directio"
	"kintsugi/placement"
)

// Put keeps payload as the shard h.ID. When it returns nil the shard is on stable
// storage. A shard that is here already is left alone; one known to be corrupt is
// written anew; a deleted one is refused with ErrDeleted. From 64 KiB on, a payload
// that starts at a multiple of 4096 in memory is written without being copied.
func (s *Store) Put(ctx context.Context, h Header, payload []byte) error {
	if err := s.usable(ctx); err != nil {
		return s.wrap(h.ID, err)
	}
	if len(payload) > MaxPayload || recordLen(int64(len(payload))) > s.cfg.SegmentSize-segmentHeadSize {
		return s.wrap(h.ID, ErrTooLarge)
	}
	w := write{record: record{Header: h, kind: kindPut, size: uint32(len(payload)), written: uint32(time.Now().Unix())}}
	var err error
	if len(payload) < directLimit {
		err = s.putPacked(ctx, &w, payload)
	} else {
		err = s.putDirect(ctx, &w, payload)
	}
	if err == errPresent {
		return nil
	}
	s.stats.put(len(payload), err)
	return s.wrap(h.ID, err)
}

// admit decides whether a record may be written, and numbers it. The caller
// holds mu: a tombstone that comes later has a higher sequence and wins, one that
// came earlier is seen here.
func (s *Store) admit(w *write) error {
	if w.from != nil {
		return nil // a copy keeps its sequence
	}
	if s.closed {
		return ErrFailed
	}
	if s.deleting[w.ID] > 0 {
		return ErrDeleted
	}
	switch s.index.get(w.ID).state {
	case stateLive:
		return errPresent
	case stateTombstone:
		return ErrDeleted
	}
	s.seq++
	w.seq = s.seq
	return nil
}

// putPacked copies a small record into the open batch.
func (s *Store) putPacked(ctx context.Context, w *write, payload []byte) error {
	length := int(recordLen(int64(len(payload))))
	b, i, rec, err := s.join(ctx, w, length)
	if err != nil {
		return err
	}
	fillRecord(rec, w.ID, payload)
	b.filling.Done()
	s.wakeCommitter()
	return s.wait(ctx, b, i)
}

// fillRecord writes all of a packed record but its header.
func fillRecord(rec []byte, id placement.ShardID, payload []byte) {
	from := payloadOffset(int64(len(payload)))
	clear(rec[headerSize:from])
	putSums(rec[headerSize:], id, payload)
	n := copy(rec[from:], payload)
	clear(rec[int(from)+n:])
}

// join gets a packed record its number and its place in a batch, which then waits
// for the caller's filling.Done.
func (s *Store) join(ctx context.Context, w *write, length int) (*batch, int, []byte, error) {
	for {
		s.mu.Lock()
		b, behind := s.batchFor(length, false)
		if b != nil {
			defer s.mu.Unlock()
			if err := s.admit(w); err != nil {
				s.wakeCommitter() // the batch may be new and empty
				return nil, 0, nil, err
			}
			b.filling.Add(1)
			i := b.add(*w, length)
			return b, i, b.buf[b.used-length : b.used], nil
		}
		s.mu.Unlock()
		if err := s.waitForRoom(ctx, behind); err != nil {
			return nil, 0, nil, err
		}
	}
}

func (s *Store) waitForRoom(ctx context.Context, behind <-chan struct{}) error {
	select {
	case <-behind:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.failed:
		return ErrFailed
	}
}

// headBuffers recycles the aligned heads of direct records with up to 31 MiB of payload.
var headBuffers = sync.Pool{New: func() any { b := directio.Buffer(directio.BlockSize); return &b }}

// putDirect writes a large record from the caller's own goroutine and memory,
// then waits for the group's sync.
func (s *Store) putDirect(ctx context.Context, w *write, payload []byte) error {
	headLen := payloadOffset(int64(len(payload)))
	head := headBuffers.Get().(*[]byte)
	defer headBuffers.Put(head)
	if headLen > int64(len(*head)) {
		*head = directio.Buffer(int(headLen))
	}
	h := (*head)[:headLen]
	clear(h)
	putSums(h[headerSize:], w.ID, payload)

	s.mu.Lock()
	if err := s.admit(w); err != nil {
		s.mu.Unlock()
		return err
	}
	seg, off, err := s.place(w.length(), false)
	if err != nil {
		s.mu.Unlock()
		return s.judge(err)
	}
	w.seg, w.gen, w.off, w.at = seg, seg.gen, uint32(off), -1
	w.token = s.seq
	if w.from != nil {
		w.token++ // it has an old sequence, but the committer must wait for it
	}
	s.open = append(s.open, w.token)
	w.durable = s.durable() // without this write: torn, it must not say of itself that it was whole
	s.mu.Unlock()

	w.encode(h, s.drive)
	if err := s.disk.write(seg.write, directBuffers(h, payload), off); err != nil {
		s.mu.Lock()
		seg.inflight--
		s.closeToken(w.token)
		s.mu.Unlock()
		s.wakeCommitter()
		return s.judge(err)
	}
	b, i := s.joinWritten(w)
	return s.wait(ctx, b, i)
}

// errPresent ends a Put that has nothing to do.
var errPresent = errors.New("shard present")

// directBuffers cuts a record into aligned pieces for one write. Only a payload
// in unaligned memory, or its odd tail, is copied.
func directBuffers(head, payload []byte) [][]byte {
	whole := len(payload) &^ (directio.BlockSize - 1)
	if !directio.IsAligned(payload[:whole]) {
		padded := directio.Buffer(int(directio.Align(int64(len(payload)))))
		copy(padded, payload)
		return [][]byte{head, padded}
	}
	if whole == len(payload) {
		return [][]byte{head, payload}
	}
	tail := directio.Buffer(directio.BlockSize)
	copy(tail, payload[whole:])
	return [][]byte{head, payload[:whole], tail}
}

// joinWritten hands a record that is written but not synced to the committer.
func (s *Store) joinWritten(w *write) (*batch, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := s.batchFor(0, false)
	b.writes = append(b.writes, *w)
	s.wakeCommitter()
	return b, len(b.writes) - 1
}

// Delete leaves a tombstone for every id, known or not: the shard is gone and
// cannot be written again for Config.TombstoneAge.
func (s *Store) Delete(ctx context.Context, ids []placement.ShardID) error {
	return s.bury(ctx, ids, kindTombstone)
}

// Drop removes shards that belong elsewhere now. Unlike deleted ones they may be
// written again, when their partition comes back to this drive.
func (s *Store) Drop(ctx context.Context, ids []placement.ShardID) error {
	return s.bury(ctx, ids, kindDrop)
}

// buryAtOnce tombstones fill a quarter of a batch.
const buryAtOnce = batchBytes / headerSize / 4

func (s *Store) bury(ctx context.Context, ids []placement.ShardID, k kind) error {
	type place struct {
		b *batch
		i int
	}
	var places []place
	for len(ids) > 0 {
		n := min(len(ids), buryAtOnce)
		if err := s.usable(ctx); err != nil {
			return err
		}
		b, last, err := s.joinTombstones(ctx, ids[:n], k)
		if err != nil {
			return err
		}
		if b != nil {
			places = append(places, place{b, last})
		}
		ids = ids[n:]
	}
	for _, p := range places {
		if err := s.wait(ctx, p.b, p.i); err != nil {
			return err
		}
	}
	return s.usable(ctx)
}

// joinTombstones puts tombstones into a batch and returns the last one's number;
// no batch if none is needed. All in a batch share one fate.
func (s *Store) joinTombstones(ctx context.Context, ids []placement.ShardID, k kind) (*batch, int, error) {
	for {
		s.mu.Lock()
		b, behind := s.batchFor(len(ids)*headerSize, true)
		if b != nil {
			defer s.mu.Unlock()
			if s.closed {
				return nil, 0, ErrFailed
			}
			last := s.addTombstones(b, ids, k)
			s.wakeCommitter()
			if last < 0 {
				return nil, 0, nil
			}
			return b, last, nil
		}
		s.mu.Unlock()
		if err := s.waitForRoom(ctx, behind); err != nil {
			return nil, 0, err
		}
	}
}

func (s *Store) addTombstones(b *batch, ids []placement.ShardID, k kind) (last int) {
	last = -1
	now := uint32(time.Now().Unix())
	for _, id := range ids {
		e := s.index.get(id)
		if e.state == stateTombstone || k == kindDrop && (e.state == stateNone || s.deleting[id] > 0) {
			continue
		}
		s.seq++
		w := write{record: record{Header: Header{ID: id, Partition: e.partition}, kind: k, written: now, seq: s.seq}}
		if k == kindTombstone {
			s.deleting[id]++
		}
		last = b.add(w, headerSize)
	}
	return last
}
