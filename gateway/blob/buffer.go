package blob

import (
	"context"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// trimInterval is how long a free buffer is kept that nobody needs.
const trimInterval = 5 * time.Second

// pool hands out page-aligned buffers of a bounded total size. Who finds it
// exhausted waits in turn.
type pool struct {
	limit int64
	quota *semaphore.Weighted

	mu     sync.Mutex // guards the rest
	free   map[int64]*shelf
	cached int64 // bytes of free buffers
	mapped int64 // bytes of all buffers but those that were abandoned
	timer  *time.Timer
	closed bool
}

// shelf keeps the free buffers of one size.
type shelf struct {
	buffers []*buffer
	idle    int // the fewest that lay here since the last trim
}

// buffer is memory with a count of those who still use it.
type buffer struct {
	pool      *pool
	b         []byte
	refs      atomic.Int32
	abandoned atomic.Bool
	lent      bool // from the heap and on nobody's books: see lend
}

func newPool(limit int64) *pool {
	return &pool{limit: limit, quota: semaphore.NewWeighted(limit), free: make(map[int64]*shelf)}
}

// get returns a buffer of at least n bytes, whose content is arbitrary, with one reference.
func (p *pool) get(ctx context.Context, n int64) (*buffer, error) {
	size := classSize(n)
	if err := p.quota.Acquire(ctx, min(size, p.limit)); err != nil {
		return nil, err
	}
	return p.take(size)
}

// tryGet is get for those who can do without: it returns nil instead of waiting.
func (p *pool) tryGet(n int64) *buffer {
	size := classSize(n)
	if !p.quota.TryAcquire(min(size, p.limit)) {
		return nil
	}
	b, err := p.take(size)
	if err != nil {
		return nil
	}
	return b
}

// lend returns a small buffer beyond the limit, for those whose waiting could last for ever.
func (p *pool) lend(n int64) *buffer {
	b := &buffer{pool: p, b: make([]byte, n), lent: true}
	b.abandoned.Store(true)
	b.refs.Store(1)
	return b
}

// take gets a buffer whose quota the caller has acquired.
func (p *pool) take(size int64) (*buffer, error) {
	p.mu.Lock()
	if s := p.free[size]; s != nil && len(s.buffers) > 0 {
		last := len(s.buffers) - 1
		b := s.buffers[last]
		s.buffers[last] = nil
		s.buffers = s.buffers[:last]
		s.idle = min(s.idle, last)
		p.cached -= size
		p.mu.Unlock()
		b.refs.Store(1)
		return b, nil
	}
	p.makeRoom(size)
	p.mapped += size
	p.mu.Unlock()
	memory, err := allocate(int(size))
	if err != nil {
		p.forget(size)
		p.quota.Release(min(size, p.limit))
		return nil, fmt.Errorf("blob: no memory for a buffer of %d bytes: %w", size, err)
	}
	b := &buffer{pool: p, b: memory}
	b.refs.Store(1)
	return b, nil
}

// forget takes a buffer that is not kept any more off the books.
func (p *pool) forget(size int64) {
	p.mu.Lock()
	p.mapped -= size
	p.mu.Unlock()
}

// put takes a buffer back that nobody refers to.
func (p *pool) put(b *buffer) {
	size := int64(len(b.b))
	if b.abandoned.Load() {
		b.discard() // another may have been made in its place
		return
	}
	p.mu.Lock()
	keep := !p.closed
	if keep {
		s := p.free[size]
		if s == nil {
			s = &shelf{}
			p.free[size] = s
		}
		s.buffers = append(s.buffers, b)
		p.cached += size
		if p.timer == nil {
			p.timer = time.AfterFunc(trimInterval, p.trim)
		}
	}
	p.mu.Unlock()
	if !keep {
		b.discard()
	}
	p.quota.Release(min(size, p.limit))
}

// makeRoom frees buffers of other sizes, so that with one more of this size the pool keeps to its limit. Called with mu held.
func (p *pool) makeRoom(size int64) {
	for other, s := range p.free {
		for p.mapped+size > p.limit && len(s.buffers) > 0 {
			p.drop(other, s)
		}
	}
}

// drop frees one buffer of a shelf. Called with mu held.
func (p *pool) drop(size int64, s *shelf) {
	last := len(s.buffers) - 1
	s.buffers[last].discard()
	s.buffers[last] = nil
	s.buffers = s.buffers[:last]
	s.idle = min(s.idle, last)
	p.cached -= size
	p.mapped -= size
}

// trim frees what was not needed since the last trim, and comes again while anything is left.
func (p *pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for size, s := range p.free {
		for range s.idle {
			p.drop(size, s)
		}
		s.idle = len(s.buffers)
	}
	if p.cached > 0 && !p.closed {
		p.timer = time.AfterFunc(trimInterval, p.trim)
	} else {
		p.timer = nil
	}
}

// close frees what lies here; buffers that are still in use are freed by their last user.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	for size, s := range p.free {
		for len(s.buffers) > 0 {
			p.drop(size, s)
		}
	}
}

// retain adds a user.
func (b *buffer) retain() { b.refs.Add(1) }

// release ends the use of b by one of its users.
func (b *buffer) release() {
	if b.refs.Add(-1) == 0 {
		b.pool.put(b)
	}
}

// abandon says that only calls to drives that do not answer use b any more. Its quota is
// given back at once, its memory when they return: a hung drive must not stop the
// others. Breakers bound how many buffers come to that. The caller keeps its own reference.
func (b *buffer) abandon() {
	if !b.abandoned.Swap(true) {
		b.pool.forget(int64(len(b.b)))
		b.pool.quota.Release(min(int64(len(b.b)), b.pool.limit))
	}
}

// discard gives the memory of b back to the system.
func (b *buffer) discard() {
	if b.lent {
		return
	}
	if err := deallocate(b.b); err != nil {
		panic("blob: " + err.Error()) // the slice is not what allocate returned: memory is corrupt
	}
	b.b = nil
}

// classSize rounds n up to a power of two or one and a half of one, each with a sixteenth on
// top: so that chunks of just such a size do not take the next larger class for their padding.
func classSize(n int64) int64 {
	n = max(n, 16<<10)
	power := int64(1) << (bits.Len64(uint64(n-1)) - 1) // the largest below n
	for _, c := range [...]int64{power, power + power/2, 2 * power} {
		if n <= c+c/16 {
			return (c + c/16 + 4095) &^ 4095
		}
	}
	panic("unreachable: 2*power >= n")
}
