package shardstore

import (
	"context"
	"sync"

	"kintsugi/internal/directio"
)

// batch is a group of writes that become durable with one sync. Small records
// are packed into its buffer, which the committer writes in one go; large ones
// were written by their callers and only wait here for the sync.
type batch struct {
	deletes bool
	token   uint64 // in Store.open while the batch is on its way
	buf     []byte
	used    int
	seg     *segment // where buf was written
	writes  []write
	filling sync.WaitGroup // callers that still copy into buf
	done    chan struct{}  // closed when every write's err is final
}

// write is one record on its way to the disk. The committer owns it until the batch is done.
type write struct {
	record
	seg   *segment // where it was placed; nil until then
	at    int      // of its header in the batch's buffer; -1: already written by its caller
	token uint64   // in Store.open, if it was written by its caller
	from  *entry   // compaction: what the record is a copy of
	err   error
}

const (
	// batchBytes is enough for 7 records just below directLimit.
	batchBytes = 512 << 10
	// queueLimit bounds the batches, and so the memory, of a store that is behind.
	queueLimit = 4
)

// batchBuffers recycles the buffers of all stores of the process.
var batchBuffers = sync.Pool{New: func() any { b := directio.Buffer(batchBytes); return &b }}

// which indexes Store.current.
func which(deletes bool) int {
	if deletes {
		return 1
	}
	return 0
}

// batchFor returns an open batch with n bytes of room in its buffer. It returns
// nil and what to wait for if the committer is behind. The caller holds mu.
func (s *Store) batchFor(n int, deletes bool) (*batch, <-chan struct{}) {
	b := s.current[which(deletes)]
	if b != nil && b.used+n <= batchBytes {
		if n > 0 && b.buf == nil {
			b.buf = *batchBuffers.Get().(*[]byte)
		}
		return b, nil
	}
	if n > 0 && len(s.queue) >= queueLimit {
		return nil, s.room
	}
	b = &batch{deletes: deletes, done: make(chan struct{}), token: s.seq + 1}
	if n > 0 {
		b.buf = *batchBuffers.Get().(*[]byte)
	}
	s.open = append(s.open, b.token)
	s.queue = append(s.queue, b)
	s.current[which(deletes)] = b
	return b, nil
}

// add makes room for a record in the batch and returns its number there.
func (b *batch) add(w write, length int) int {
	w.at = b.used
	b.used += length
	b.writes = append(b.writes, w)
	return len(b.writes) - 1
}

// wakeCommitter tells the committer that there is a batch.
func (s *Store) wakeCommitter() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// wait waits until write number i of b is durable and in the index.
func (s *Store) wait(ctx context.Context, b *batch, i int) error {
	select {
	case <-b.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.failed:
		return ErrFailed
	}
	if s.Err() != nil {
		return ErrFailed
	}
	return b.writes[i].err
}

// durable is the sequence up to which everything is on stable storage. The caller holds mu.
func (s *Store) durable() uint64 {
	d := s.seq
	for _, first := range s.open {
		d = min(d, first-1)
	}
	return d
}

// closeToken takes a finished write out of Store.open. The caller holds mu.
func (s *Store) closeToken(token uint64) {
	for i, t := range s.open {
		if t == token {
			s.open[i] = s.open[len(s.open)-1]
			s.open = s.open[:len(s.open)-1]
			return
		}
	}
}
