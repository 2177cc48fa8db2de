package blob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"kintsugi/internal/pace"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// fetch gets one span of a chunk: first from the data shards that it touches, straight into
// one buffer; where one of those fails or is late, from any k shards of the chunk.
//
// Small spans are read by one goroutine, shard after shard: that is cheaper than one each, as long as the drives answer
// within microseconds. wait watches over it and takes the shards that it has not come to out of its hands
// if it gets stuck.
type fetch struct {
	span
	locator
	// Columns [from, to) of other shards make up for any missing piece.
	from, to int64
	begun    time.Time
	poke     chan struct{} // something changed; holds one

	mu       sync.Mutex // guards what follows
	buf      *buffer    // the bytes [lo, hi) of the chunk
	pieces   []*shardRead
	rescue   *rescue // nil while none is needed
	tried    []attempt
	resolved bool
	parts    [][]byte // the result, in order, once resolved
	cause    error    // the first failure of a shard, for the report
}

// shardRead reads a range of columns of one shard.
type shardRead struct {
	index int
	from  int64 // first column
	dst   []byte
	buf   *buffer // that dst lies in
	wide  bool    // look on every drive, not only where the shard is likely

	// Guarded by fetch.mu.
	state readState
	alone bool      // it was given a goroutine of its own
	late  bool      // its drive has not answered in time; it may still
	left  bool      // nobody waits for it any more
	at    target    // the drive that is being asked, if any,
	since time.Time // since when
}

type readState uint8

const (
	readWaiting readState = iota
	readRunning
	readDone
	readFailed
)

// inlineBytes is the most that one goroutine reads shard after shard.
const inlineBytes = 256 << 10

// inlineTime is how long reading so may take, by what the drives have shown.
const inlineTime = 300 * time.Microsecond

// startFetch begins to read p into buf, which the fetch then owns.
func (s *Store) startFetch(p span, buf *buffer) *fetch {
	m := s.cluster.Map()
	f := &fetch{span: p, buf: buf, begun: time.Now(), poke: make(chan struct{}, 1)}
	f.locator = locator{s: s, m: m, partition: m.Partition(p.blob, p.number), shards: p.code.Shards()}
	f.from, f.to = p.columns()
	s.hedges.earn()
	at := int64(0)
	for i := p.first(); i <= p.last(); i++ {
		from, to := p.piece(i)
		f.pieces = append(f.pieces, &shardRead{index: i, from: from, dst: buf.b[at : at+to-from : at+to-from], buf: buf})
		at += to - from
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.hi-p.lo <= inlineBytes && f.expected() <= inlineTime {
		f.launch(f.pieces...)
		return f
	}
	for i := range f.pieces {
		f.launch(f.pieces[i])
	}
	return f
}

// expected is how long the pieces would take one after the other.
func (f *fetch) expected() time.Duration {
	total := time.Duration(0)
	homes := f.m.Homes(f.partition)
	for _, r := range f.pieces {
		if r.index < len(homes) {
			if t := f.s.target(homes[r.index]); t.drive != nil {
				total += t.health.readTime.value()
			}
		}
	}
	return total
}

// launch has the reads done by one goroutine, in order. Called with mu held.
func (f *fetch) launch(reads ...*shardRead) {
	if !f.s.enter() {
		f.cause = ErrClosed
		for _, r := range reads {
			r.state = readFailed
		}
		f.wake()
		return
	}
	for _, r := range reads {
		r.buf.retain()
	}
	go f.readAll(reads)
}

func (f *fetch) readAll(reads []*shardRead) {
	defer f.s.background.Done()
	defer f.wake()
	for _, r := range reads {
		f.read(r)
		r.buf.release()
	}
}

// wake pokes whoever waits.
func (f *fetch) wake() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

// read reads one shard from the first drive that has it, unless another goroutine was faster to begin.
func (f *fetch) read(r *shardRead) {
	f.mu.Lock()
	claimed := r.state == readWaiting
	if claimed {
		r.state, r.since = readRunning, time.Now()
	}
	f.mu.Unlock()
	if !claimed {
		return
	}
	err := f.readAnywhere(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	r.state = readDone
	if err != nil {
		r.state = readFailed
		f.cause = worse(f.cause, err)
		f.step(time.Now()) // what makes up for it starts at once, though nobody may be waiting yet
	}
	f.wake()
}

func (f *fetch) readAnywhere(r *shardRead) error {
	var room [3]target
	targets := room[:0]
	if r.wide {
		targets = f.untried(r.index)
		f.s.metrics.searches.Inc()
	} else {
		targets = f.likely(targets, r.index)
	}
	err := errNowhere
	for _, t := range targets {
		failure, late := f.readFrom(r, t)
		if failure == nil {
			return nil
		}
		f.mu.Lock()
		f.tried = append(f.tried, attempt{r.index, t.health})
		f.mu.Unlock()
		if err = worse(err, failure); late {
			break
		}
	}
	return err
}

// attempt notes that a drive was asked for a shard, in vain.
type attempt struct {
	index int
	at    *health
}

// untried are the drives that were not asked for shard i, suspects last.
func (f *fetch) untried(i int) []target {
	f.mu.Lock()
	defer f.mu.Unlock()
	var targets, suspects []target
	for _, t := range f.all(i) {
		switch {
		case slices.Contains(f.tried, attempt{i, t.health}):
		case t.health.reads.open():
			suspects = append(suspects, t)
		default:
			targets = append(targets, t)
		}
	}
	return append(targets, suspects...)
}

var errNowhere = errors.New("no drive that is up is likely to have the shard")

// worse keeps the error that tells more.
func worse(a, b error) error {
	if a == nil || errors.Is(a, errNowhere) || errors.Is(a, shardstore.ErrNotFound) {
		return b
	}
	return a
}

// readFrom reads a shard from one drive and keeps the books; late tells that somebody has stopped to wait for it.
func (f *fetch) readFrom(r *shardRead, t target) (err error, late bool) {
	begun := time.Now()
	f.mu.Lock()
	if r.late || r.left {
		f.mu.Unlock()
		return context.Canceled, true
	}
	r.at, r.since = t, begun
	f.mu.Unlock()
	id := placement.ShardID{Blob: f.blob, Chunk: f.number, Index: uint8(r.index)}
	err = t.drive.ReadAt(f.s.ctx, id, r.dst, r.from)
	took := time.Since(begun)

	f.mu.Lock()
	late, left := r.late, r.left
	r.at = target{} // from here on the drive cannot be blamed for this call
	f.mu.Unlock()
	if left {
		t.health.reads.returned(time.Now(), took > f.s.config.ReadHedgeMax)
		return err, true
	}
	judge(t.health.reads, err)
	switch {
	case err == nil:
		t.health.readTime.observe(took)
	case damaged(err):
		f.s.metrics.shardsCorrupt.Inc()
		f.s.config.Hint(id)
	case errors.Is(err, shardstore.ErrNotFound) && f.isHome(t.health.id, r.index): // a narrow chunk may rightly be elsewhere
		f.s.metrics.shardsMissing.Inc()
		f.s.config.Hint(id)
	}
	return err, late
}

// wait returns when the span is there, in parts, or cannot be had.
func (f *fetch) wait(ctx context.Context) error {
	var timer *time.Timer
	for rounds := 0; ; {
		f.mu.Lock()
		todo, next := f.step(time.Now())
		if todo == rebuild {
			err := f.reconstruct()
			f.mu.Unlock()
			return err
		}
		f.mu.Unlock()
		switch todo {
		case finished:
			return nil
		case hopeless:
			if rounds == len(secondLooks) || time.Since(f.begun) >= f.s.config.ReadTimeout {
				return f.unreadable()
			}
			if err := f.lookAgain(ctx, secondLooks[rounds]); err != nil {
				return err
			}
			rounds++
			continue
		case needMemory:
			if err := f.prepareRescue(ctx); err != nil {
				return err
			}
			continue
		}
		if timer == nil {
			timer = time.NewTimer(time.Until(next))
			defer timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-f.poke:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// secondLooks are the pauses before a chunk that cannot be read is looked for anew: drives that come back, and
// shards that move from one to another, may have been missed.
var secondLooks = [...]time.Duration{10 * time.Millisecond, 50 * time.Millisecond}

// lookAgain lets every drive be asked again.
func (f *fetch) lookAgain(ctx context.Context, wait time.Duration) error {
	if err := pace.Pause(ctx, wait); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried = f.tried[:0]
	for _, reads := range f.rescue.helpers {
		for _, r := range reads {
			if r.state == readFailed {
				r.wide = false
			}
		}
	}
	return nil
}

func (f *fetch) unreadable() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	cause := f.cause
	if cause == nil {
		cause = context.DeadlineExceeded
	}
	return fmt.Errorf("%w: code %s, chunk %d of blob %s: %w", ErrUnreadable, f.code, f.number, f.blob, cause)
}

// release gives the memory of the fetch back; nobody may use its parts any more. Reads that have
// not returned keep it, but it no longer counts.
func (f *fetch) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resolved = true
	f.leave(f.pieces)
	f.buf.release()
	if f.rescue != nil {
		for _, reads := range f.rescue.helpers {
			f.leave(reads)
		}
		f.rescue.buf.release()
	}
}

// leave gives up the reads that are not over. Called with mu held.
func (f *fetch) leave(reads []*shardRead) {
	for _, r := range reads {
		switch {
		case r.left:
		case r.state == readWaiting:
			r.state = readFailed
		case r.state == readRunning:
			r.left = true
			r.buf.abandon()
			if r.at.health != nil {
				r.at.health.reads.abandon(r.since)
			}
		}
	}
}
