package blob

import (
	"context"
	"errors"
	"fmt"
	"io"

	"kintsugi/meta"
	"kintsugi/placement"
)

// Write stores body as the blob id, cut into chunks that are coded and spread over the
// drives, and returns the record to be committed with the metadata. size is its
// length in bytes, -1 if unknown; in either case body is read until it says io.EOF, so
// that a reader which verifies at its end has its say. sink, which may be nil, sees
// every byte in order from one goroutine at a time, and all before Write returns.
//
// On any error nothing of the blob is left but what is being removed in the background.
func (s *Store) Write(ctx context.Context, id placement.BlobID, body io.Reader, size int64, sink io.Writer) (meta.Blob, error) {
	s.writers.Add(1)
	defer s.writers.Add(-1)
	s.pins.add(id)
	defer s.pins.remove(id)

	w := &writer{s: s, body: body, size: size, blob: meta.Blob{ID: id, ChunkSize: s.chunkSize()}}
	err := w.run(ctx, sink)
	if err != nil {
		s.discard(w.blob)
		return meta.Blob{}, err
	}
	return w.blob, nil
}

// chunkSize is the share of the write memory that a new body gets, two chunks each: bodies that come slowly must
// not keep the others out.
func (s *Store) chunkSize() int64 {
	share := s.config.WriteMemory / (2 * s.writers.Load())
	size := s.config.ChunkSize
	for size/2 >= s.config.MinChunkSize && size > share {
		size /= 2
	}
	return size
}

// writer is one Write.
type writer struct {
	s    *Store
	body io.Reader
	size int64 // announced, or -1
	blob meta.Blob

	buf   *buffer // of the chunk that is being read; nil in between
	ended bool    // body has said io.EOF
	chunk uint32  // number of the next chunk to be written
	prior *chunkWrite
	hash  *hasher // nil if the sink is fed by the chunk's own goroutine
}

// maxChunks leaves the highest 8 bits of a chunk number to attempts.
const maxChunks = 1 << 24

// run reads chunks and has them written, one while the next is read.
func (w *writer) run(ctx context.Context, sink io.Writer) error {
	small := w.size >= 0 && w.size <= min(hashPiece, w.blob.ChunkSize)
	if sink != nil && !small {
		w.hash = startHasher(sink)
		sink = nil
	}
	err := w.copy(ctx, sink)
	if w.buf != nil {
		w.buf.release()
		w.buf = nil
	}
	return errors.Join(err, w.await(), w.hash.finish())
}

// copy returns when the last chunk was written and the one before it was started.
func (w *writer) copy(ctx context.Context, sink io.Writer) error {
	for !w.ended {
		n, err := w.fill(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if w.chunk == maxChunks {
			return fmt.Errorf("%w: more than %d chunks", ErrSize, maxChunks)
		}
		if err := w.await(); err != nil {
			return err
		}
		c := &chunkWrite{s: w.s, blob: w.blob.ID, chunk: w.chunk, data: w.buf, length: n, sink: sink}
		w.buf, w.chunk = nil, w.chunk+1
		w.prior = c
		if w.ended {
			c.run(ctx)
		} else {
			c.start(ctx)
		}
	}
	return nil
}

// await waits for the chunk before and records it.
func (w *writer) await() error {
	c := w.prior
	if c == nil {
		return nil
	}
	w.prior = nil
	if err := c.wait(); err != nil {
		return err
	}
	w.blob.Size += c.length
	run := meta.Run{Chunks: 1, K: uint8(c.code.K), M: uint8(c.code.M), Epoch: c.epoch, Attempt: c.attempt}
	if i := len(w.blob.Runs) - 1; i >= 0 && sameRun(w.blob.Runs[i], run) {
		w.blob.Runs[i].Chunks++
	} else {
		w.blob.Runs = append(w.blob.Runs, run)
	}
	return nil
}

func sameRun(a, b meta.Run) bool {
	return a.K == b.K && a.M == b.M && a.Epoch == b.Epoch && a.Attempt == b.Attempt
}

// peekSize is how much of a body of unknown length is read before a whole chunk's memory is taken for it.
const peekSize = 256 << 10

// fill reads the next chunk into w.buf and returns its length, 0 at the end of the body.
func (w *writer) fill(ctx context.Context) (int64, error) {
	want := w.blob.ChunkSize
	if w.size >= 0 {
		want = min(want, w.size-int64(w.chunk)*w.blob.ChunkSize)
	}
	if want == 0 {
		return 0, w.expectEnd()
	}
	first := want
	if w.size < 0 && w.chunk == 0 {
		first = min(want, peekSize)
	}
	buf, err := w.s.writePool.get(ctx, w.room(first))
	if err != nil {
		return 0, err
	}
	w.buf = buf
	n, err := w.read(ctx, 0, first)
	if err == nil && first < want && !w.ended && w.grow(n, want) {
		n, err = w.read(ctx, n, want)
	}
	if err != nil {
		return 0, err
	}
	return n, w.checkEnd(n, want)
}

// checkEnd holds what fill read against the announced size.
func (w *writer) checkEnd(n, want int64) error {
	if w.size < 0 {
		return nil
	}
	total := int64(w.chunk)*w.blob.ChunkSize + n
	switch {
	case n < want:
		return fmt.Errorf("%w: %d of %d bytes came: %w", ErrSize, total, w.size, io.ErrUnexpectedEOF)
	case total == w.size:
		return w.expectEnd()
	}
	return nil
}

// room is the memory for a chunk of n bytes and the padding behind it, whichever code it gets: each of at most K shards is
// rounded up to whole blocks, which makes a sixteenth of them at most, or if it is small to 64 bytes.
func (w *writer) room(n int64) int64 {
	return n + max(n/16, 64*int64(w.s.cluster.Map().K))
}

// grow moves the first used bytes into a buffer for n, or makes what was read the blob's chunk size if there is no memory: to
// wait for it while holding some could stop all writers.
func (w *writer) grow(used, n int64) bool {
	b := w.s.writePool.tryGet(w.room(n))
	if b == nil {
		w.blob.ChunkSize = used
		return false
	}
	copy(b.b, w.buf.b[:used])
	w.buf.release()
	w.buf = b
	return true
}

// read reads the body into w.buf[from:to] until it is full or the body ends, piece by piece past the hasher, and
// returns where it got to.
func (w *writer) read(ctx context.Context, from, to int64) (int64, error) {
	for from < to && !w.ended {
		if err := ctx.Err(); err != nil {
			return from, err
		}
		piece := w.buf.b[from:min(to, from+hashPiece)]
		n, err := readFull(w.body, piece)
		w.hash.feed(w.buf, piece[:n])
		from += int64(n)
		if err == io.EOF {
			w.ended = true
		} else if err != nil {
			return from, err
		}
	}
	return from, nil
}

// expectEnd reads the end of the body.
func (w *writer) expectEnd() error {
	if w.ended {
		return nil
	}
	var extra [1]byte
	n, err := readFull(w.body, extra[:])
	switch {
	case n > 0:
		return fmt.Errorf("%w: more than %d bytes came", ErrSize, w.size)
	case err != io.EOF:
		return err
	}
	w.ended = true
	return nil
}

// readFull is io.ReadFull, but returns the reader's own error: only io.EOF may mean that the body is complete.
func readFull(r io.Reader, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := r.Read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
