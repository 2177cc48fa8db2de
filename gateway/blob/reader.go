package blob

import (
	"context"
	"errors"
	"io"
	"time"

	"kintsugi/meta"
	"kintsugi/placement"
)

// Reader yields a range of the concatenation of blobs. It never ends early without an error, and
// never yields a byte that was not verified. It is for one goroutine.
type Reader struct {
	s *Store
	// ctx bounds the Reader's whole life, as http.Request's does: its methods are those of package io.
	ctx  context.Context
	pins []meta.Blob

	at    cursor // of the next span to be fetched
	now   *fetch // whose parts are being given out; nil at the end
	next  *fetch // begun ahead of time; may be nil
	parts [][]byte
	err   error
	wide  bool  // counted among s.readers
	since int64 // if wide: what s.underway gave

	degraded chunkID // the chunk of which a shard was last found missing
}

type chunkID struct {
	blob   placement.BlobID
	number uint32
}

// Read returns a Reader of n bytes from off on. Its first piece is fetched and verified before it returns: ErrUnreadable
// comes here unless drives die later. ctx bounds the Reader, too, and must live until Close.
func (s *Store) Read(ctx context.Context, blobs []meta.Blob, off, n int64) (*Reader, error) {
	at, err := newCursor(blobs, off, n)
	if err != nil {
		return nil, err
	}
	r := &Reader{s: s, ctx: ctx, pins: blobs, at: at}
	s.pins.addAll(blobs)
	if n > minReadWindow {
		r.wide, r.since = true, s.underway.begin(time.Now())
		s.readers.Add(1)
	}
	if err := r.advance(); err != nil && !errors.Is(err, io.EOF) {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close gives back what the Reader holds. It may be called more than once.
func (r *Reader) Close() error {
	for _, f := range []*fetch{r.now, r.next} {
		if f != nil {
			f.release()
		}
	}
	r.now, r.next, r.parts = nil, nil, nil
	if r.s == nil {
		return nil
	}
	if r.wide {
		r.s.readers.Add(-1)
		r.s.underway.end(r.since)
	}
	r.s.pins.removeAll(r.pins)
	r.s = nil
	r.err = ErrClosed
	return nil
}

// Read copies what comes next into p.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.parts) == 0 {
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
	r.prefetch()
	n := copy(p, r.parts[0])
	r.consume(n)
	return n, nil
}

// writeBlock is the most that WriteTo writes at once, in bytes, so that a deadline may be set for each.
const writeBlock = 1 << 20

// WriteTo writes all that is left. While one piece is written the next is fetched.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	for {
		if len(r.parts) == 0 {
			if err := r.advance(); err == io.EOF {
				return total, nil
			} else if err != nil {
				return total, err
			}
		}
		r.prefetch()
		for len(r.parts) > 0 {
			block := r.parts[0][:min(writeBlock, len(r.parts[0]))]
			n, err := w.Write(block)
			total += int64(n)
			if err == nil && n < len(block) {
				err = io.ErrShortWrite
			}
			if err != nil {
				r.err = err
				return total, err
			}
			r.consume(n)
		}
	}
}

// consume drops n bytes of the first part.
func (r *Reader) consume(n int) {
	if n == len(r.parts[0]) {
		r.parts = r.parts[1:]
	} else {
		r.parts[0] = r.parts[0][n:]
	}
}

// advance makes the next span the one that is given out.
func (r *Reader) advance() error {
	if r.err != nil {
		return r.err
	}
	if r.now != nil {
		r.now.release()
		r.now = nil
	}
	if r.next == nil {
		if r.at.left == 0 {
			r.err = io.EOF
			return r.err
		}
		if r.err = r.fetchNow(); r.err != nil {
			return r.err
		}
	}
	r.now, r.next = r.next, nil
	if err := r.now.wait(r.ctx); err != nil {
		r.err = err
		return err
	}
	r.parts = r.now.parts
	if r.now.rescue != nil {
		r.degraded = chunkID{r.now.blob, r.now.number}
	}
	r.s.metrics.windowsRead.Inc()
	r.s.metrics.bytesRead.Add(float64(r.now.hi - r.now.lo))
	return nil
}

// Whoever waits for read memory gets loanBytes beyond the limit after loanWait: a Reader may be the body of a
// Write whose memory the holders of the read memory wait for, and clients that read slowly must not keep all others out.
const (
	loanWait  = 20 * time.Millisecond
	loanBytes = 64 << 10
)

// fetchNow begins the next span, in smaller windows while memory is short.
func (r *Reader) fetchNow() error {
	p := r.plan()
	if buf := r.s.readPool.tryGet(p.hi - p.lo); buf != nil {
		r.begin(p, buf)
		return nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, loanWait)
	defer cancel()
	buf, err := r.s.readPool.get(ctx, p.hi-p.lo)
	if err != nil && r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		p.hi = min(p.hi, (p.lo/loanBytes+1)*loanBytes)
		buf, err = r.s.readPool.lend(p.hi-p.lo), nil
	}
	if err != nil {
		return err
	}
	r.begin(p, buf)
	return nil
}

// prefetch begins the next span if there is one and memory for it: waiting for memory while
// holding some could stop all Readers.
func (r *Reader) prefetch() {
	if r.next != nil || r.at.left == 0 || r.err != nil {
		return
	}
	p := r.plan()
	if buf := r.s.readPool.tryGet(p.hi - p.lo); buf != nil {
		r.begin(p, buf)
	}
}

func (r *Reader) begin(p span, buf *buffer) {
	r.next = r.s.startFetch(p, buf)
	r.at.advance(p.hi - p.lo)
}

// plan cuts the next span. Windows of a chunk begin and end at multiples of their size, so that verified blocks are not read
// twice. A chunk that is known to lack a shard is fetched in one piece: each window of it would read
// the same other shards again.
func (r *Reader) plan() span {
	p := r.at.rest()
	window := r.s.window()
	end := min(p.hi, (p.lo/window+1)*window)
	if end == p.hi || p.hi-p.lo <= r.s.config.ReadMemory/4 && r.lacksShard(&p) {
		return p
	}
	p.hi = end
	return p
}

// lacksShard tells whether a data shard of the span was found missing or has no home that is up.
func (r *Reader) lacksShard(p *span) bool {
	if r.degraded == (chunkID{p.blob, p.number}) {
		return true
	}
	m := r.s.cluster.Map()
	homes := m.Homes(m.Partition(p.blob, p.number))
	for i := p.first(); i <= p.last() && i < len(homes); i++ {
		if t := r.s.target(homes[i]); t.drive == nil || t.health.reads.open() {
			return true
		}
	}
	return false
}

// window is what a Reader fetches at once: two of them for each Reader fit into the read memory.
func (s *Store) window() int64 {
	window := s.config.ReadWindow
	for readers := s.readers.Load(); window/2 >= minReadWindow && 2*window*readers > s.config.ReadMemory; {
		window /= 2
	}
	return window
}
