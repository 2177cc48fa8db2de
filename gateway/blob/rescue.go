package blob

import (
	"context"
	"time"
)

// rescue makes up for pieces that failed or are late, from other shards of the chunk.
type rescue struct {
	buf     *buffer
	width   int64        // columns, bytes
	helpers []*shardRead // by shard; nil if it was not asked for
	free    []byte       // memory not yet given out
}

// task is what step leaves to its caller.
type task uint8

const (
	waitMore   task = iota
	finished        // the parts are there
	rebuild         // k shards are there: reconstruct
	needMemory      // prepareRescue, then step again
	hopeless        // fewer than k shards can be read
)

// step looks at what has come, starts what is needed beside it, and says what is to be done and, if that
// is to wait, until when at most. It never blocks. Called with mu held.
func (f *fetch) step(now time.Time) (task, time.Time) {
	if f.resolved {
		return finished, now
	}
	next := f.begun.Add(f.s.config.Timeout)
	lost, complete := 0, true
	for _, r := range f.pieces {
		next = f.watch(r, now, next)
		if r.state == readFailed || r.late && r.state == readRunning {
			lost++
		}
		complete = complete && r.state == readDone
	}
	if complete {
		f.resolved = true
		f.parts = [][]byte{f.buf.b[:f.hi-f.lo]}
		return finished, now
	}
	if lost == 0 {
		return f.unlessOver(now, next)
	}
	f.unblock()
	if f.rescue == nil && !f.makeRescue(f.s.scratchPool.tryGet(f.rescueBytes())) {
		return needMemory, now
	}
	for _, r := range f.rescue.helpers {
		next = f.watch(r, now, next)
	}
	have, coming := f.count()
	if have >= f.code.K || f.rescuedAll() {
		return rebuild, now
	}
	if coming += f.help(f.code.K - have - coming); have+coming < f.code.K {
		coming += f.search()
	}
	if have+coming < f.code.K && !f.anyLate() {
		return hopeless, now
	}
	return f.unlessOver(now, next)
}

func (f *fetch) unlessOver(now, next time.Time) (task, time.Time) {
	if now.Sub(f.begun) >= f.s.config.Timeout {
		return hopeless, now
	}
	return waitMore, next
}

// watch marks a read as late once its drive has had its time and the budget allows a hedge, and returns
// when to look again if that is before next.
func (f *fetch) watch(r *shardRead, now, next time.Time) time.Time {
	if r == nil || r.late || r.state != readRunning || r.at.health == nil {
		return next
	}
	c := &f.s.config
	delay := min(max(r.at.health.readTime.value(), c.ReadHedgeMin), c.ReadHedgeMax)
	due := r.since.Add(delay)
	if now.Before(due) {
		return earlier(due, next)
	}
	last := r.since.Add(4 * c.ReadHedgeMax) // where all drives are slow, hedging each would make it worse
	if now.Before(last) && !f.s.hedges.spend() {
		return earlier(earlier(now.Add(delay), last), next)
	}
	r.late = true
	f.s.metrics.readHedges.Inc()
	return next
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// unblock takes the pieces that wait behind a late one out of its goroutine's hands.
func (f *fetch) unblock() {
	late := false
	for _, r := range f.pieces {
		late = late || r.late && r.state == readRunning
		if late && r.state == readWaiting && !r.alone {
			r.alone = true
			f.launch(r)
		}
	}
}

// rescueBytes is the memory that a rescue takes at most: a column range for each shard that is not there, and one for
// each piece to be reconstructed.
func (f *fetch) rescueBytes() int64 {
	ranges := f.code.Shards()
	for _, r := range f.pieces {
		if f.covers(r) && r.state == readDone {
			ranges--
		}
		if r.state != readDone {
			ranges++
		}
	}
	return int64(ranges) * (f.to - f.from)
}

// prepareRescue waits for the memory of a rescue.
func (f *fetch) prepareRescue(ctx context.Context) error {
	f.mu.Lock()
	n := f.rescueBytes()
	f.mu.Unlock()
	b, err := f.s.scratchPool.get(ctx, n)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rescue != nil {
		b.release()
		return nil
	}
	f.makeRescue(b)
	return nil
}

// makeRescue lays out the memory b; it returns false for a nil b.
func (f *fetch) makeRescue(b *buffer) bool {
	if b == nil {
		return false
	}
	f.s.metrics.degradedReads.Inc()
	f.rescue = &rescue{buf: b, width: f.to - f.from, helpers: make([]*shardRead, f.code.Shards()), free: b.b}
	return true
}

// room takes one range of columns from the memory of the rescue.
func (r *rescue) room() []byte {
	b := r.free[:r.width:r.width]
	r.free = r.free[r.width:]
	return b
}

// covers tells whether a piece spans all the columns that matter, so that it helps to reconstruct others.
func (f *fetch) covers(r *shardRead) bool {
	return r.from == f.from && int64(len(r.dst)) == f.to-f.from
}

// pieceOf returns the piece of data shard i, nil if the span does not touch it.
func (f *fetch) pieceOf(i int) *shardRead {
	if first := f.first(); i >= first && i <= f.last() {
		return f.pieces[i-first]
	}
	return nil
}

// source returns the read that brings all columns of shard i, nil if none was started.
func (f *fetch) source(i int) *shardRead {
	if h := f.rescue.helpers[i]; h != nil {
		return h
	}
	if p := f.pieceOf(i); p != nil && f.covers(p) {
		return p
	}
	return nil
}

// count tells how many shards have come with all columns, and how many are to be expected.
func (f *fetch) count() (have, coming int) {
	for i := range f.code.Shards() {
		r := f.source(i)
		switch {
		case r == nil:
		case r.state == readDone:
			have++
		case r.state == readWaiting, r.state == readRunning && !r.late:
			coming++
		}
	}
	return have, coming
}

// help asks for up to n more shards that were not asked for, parity first, and returns how many.
func (f *fetch) help(n int) int {
	asked := 0
	for j := range f.code.Shards() {
		i := (f.code.K + j) % f.code.Shards()
		if asked >= n {
			break
		}
		p := f.pieceOf(i)
		if f.source(i) != nil || p != nil && (p.state == readFailed || p.late) {
			continue
		}
		f.ask(i, false)
		asked++
	}
	return asked
}

// search looks on all drives for every shard that was not where it belongs, once each.
func (f *fetch) search() int {
	asked := 0
	for i := range f.code.Shards() {
		r := f.source(i)
		if r == nil {
			r = f.pieceOf(i)
		}
		if r == nil || r.state == readFailed && !r.wide {
			f.ask(i, true)
			asked++
		}
	}
	return asked
}

// ask starts to read all columns of shard i.
func (f *fetch) ask(i int, wide bool) {
	var dst []byte
	if old := f.rescue.helpers[i]; old != nil {
		dst = old.dst // it has failed: nobody writes there
	} else {
		dst = f.rescue.room()
	}
	r := &shardRead{index: i, from: f.from, dst: dst, buf: f.rescue.buf, wide: wide}
	f.rescue.helpers[i] = r
	f.launch(r)
}

// anyLate tells whether a read that is late may still come.
func (f *fetch) anyLate() bool {
	for i := range f.code.Shards() {
		if r := f.source(i); r != nil && r.state == readRunning {
			return true
		}
		if p := f.pieceOf(i); p != nil && p.state == readRunning {
			return true
		}
	}
	return false
}

// rescuedAll tells whether every piece is there, be it from elsewhere.
func (f *fetch) rescuedAll() bool {
	for _, p := range f.pieces {
		h := f.rescue.helpers[p.index]
		if p.state != readDone && (h == nil || h.state != readDone) {
			return false
		}
	}
	return true
}

// reconstruct computes the pieces that have not come, and puts the parts together. Called with mu
// held: of the reads that are late, none may change what is looked at.
func (f *fetch) reconstruct() error {
	code, err := f.s.codes.Code(f.code)
	if err != nil {
		return err
	}
	shards := make([][]byte, f.code.Shards())
	for i := range shards {
		if r := f.source(i); r != nil && r.state == readDone {
			shards[i] = r.dst
		}
	}
	var need []int
	for _, p := range f.pieces {
		if p.state != readDone && shards[p.index] == nil {
			shards[p.index] = f.rescue.room()[:0]
			need = append(need, p.index)
		}
	}
	if len(need) > 0 {
		if err := code.Reconstruct(shards, need); err != nil {
			return err
		}
		f.s.metrics.reconstructed.Add(float64(len(need)))
	}
	for _, p := range f.pieces {
		part := p.dst
		if p.state != readDone {
			start := p.from - f.from
			part = shards[p.index][start : start+int64(len(p.dst))]
		}
		f.parts = append(f.parts, part)
	}
	f.resolved = true
	return nil
}
