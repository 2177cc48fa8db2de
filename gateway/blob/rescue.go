package blob

import (
	"context"
	"time"
)

// rescue makes up for pieces that failed or are late, from other shards of the chunk.
type rescue struct {
	buf     *buffer
	width   int64          // columns, bytes
	helpers [][]*shardRead // by shard, the reads of all its columns beside that of a piece; all but the last are late
	free    []byte         // memory not yet given out
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
	next := f.begun.Add(f.s.config.ReadTimeout)
	missing, complete := 0, true
	for _, r := range f.pieces {
		next = f.watch(r, now, next)
		if r.state == readFailed || r.late && r.state == readRunning {
			missing++
		}
		complete = complete && r.state == readDone
	}
	if complete {
		f.resolved = true
		f.parts = [][]byte{f.buf.b[:f.hi-f.lo]}
		return finished, now
	}
	if missing == 0 {
		return f.unlessOver(now, next)
	}
	f.unblock()
	if f.rescue == nil && !f.makeRescue(f.s.scratchPool.tryGet(f.rescueBytes())) {
		return needMemory, now
	}
	for _, reads := range f.rescue.helpers {
		for _, r := range reads {
			next = f.watch(r, now, next)
		}
	}
	have, expected := f.count()
	if have >= f.code.K || f.rescuedAll() {
		return rebuild, now
	}
	asked := f.help(f.code.K - have - expected)
	if have+expected+asked < f.code.K {
		asked += f.search()
	}
	if asked > 0 {
		next = earlier(now.Add(f.s.config.ReadHedgeMin), next)
	} else if have+expected < f.code.K && !f.anyLate() {
		return hopeless, now
	}
	return f.unlessOver(now, next)
}

func (f *fetch) unlessOver(now, next time.Time) (task, time.Time) {
	if now.Sub(f.begun) >= f.s.config.ReadTimeout {
		return hopeless, now
	}
	return waitMore, next
}

// watch marks a read as late once its drive has had its time and the budget allows a hedge, and returns
// when to look again if that is before next.
func (f *fetch) watch(r *shardRead, now, next time.Time) time.Time {
	c := &f.s.config
	switch {
	case r.late || r.state == readDone || r.state == readFailed:
		return next
	case r.state == readWaiting || r.at.health == nil: // no drive was asked yet
		return earlier(now.Add(c.ReadHedgeMin), next)
	}
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
	f.rescue = &rescue{buf: b, width: f.to - f.from, helpers: make([][]*shardRead, f.code.Shards()), free: b.b}
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

// sources returns the reads that bring all columns of shard i, the newest last.
func (f *fetch) sources(i int) []*shardRead {
	reads := f.rescue.helpers[i]
	if p := f.pieceOf(i); p != nil && f.covers(p) {
		return append([]*shardRead{p}, reads...)
	}
	return reads
}

// bytes returns all columns of shard i, nil while they have not come.
func (f *fetch) bytes(i int) []byte {
	for _, r := range f.sources(i) {
		if r.state == readDone {
			return r.dst
		}
	}
	return nil
}

// prospect is what may be expected of a shard.
type prospect uint8

const (
	unasked prospect = iota
	lost             // no read of it is under way
	late             // its drive may answer yet
	coming
	there
)

// prospect looks at the reads of shard i; those of a piece that does not cover all columns only show whether
// asking for more of it makes sense.
func (f *fetch) prospect(i int) prospect {
	best := unasked
	for _, r := range f.sources(i) {
		best = max(best, r.prospect())
	}
	if p := f.pieceOf(i); best == unasked && p != nil {
		if hint := p.prospect(); hint == lost || hint == late {
			return hint
		}
	}
	return best
}

func (r *shardRead) prospect() prospect {
	switch {
	case r.state == readDone:
		return there
	case r.state == readFailed:
		return lost
	case r.late:
		return late
	}
	return coming
}

// count tells how many shards have come with all columns, and how many are to be expected.
func (f *fetch) count() (have, expected int) {
	for i := range f.code.Shards() {
		switch f.prospect(i) {
		case there:
			have++
		case coming:
			expected++
		}
	}
	return have, expected
}

// help asks for up to n more shards that were not asked for, parity first, and returns how many.
func (f *fetch) help(n int) int {
	asked := 0
	for j := range f.code.Shards() {
		i := (f.code.K + j) % f.code.Shards()
		if asked < n && f.prospect(i) == unasked {
			f.ask(i, false)
			asked++
		}
	}
	return asked
}

// search looks on all drives for every shard that was not where it belongs, or whose drive is late, and returns how many
// it looks for. A drive is asked for a shard once.
func (f *fetch) search() int {
	asked := 0
	for i := range f.code.Shards() {
		reads := f.sources(i)
		if p := f.pieceOf(i); p != nil && len(reads) == 0 {
			reads = []*shardRead{p}
		}
		if len(reads) > 0 {
			last := reads[len(reads)-1]
			if last.state == readFailed && last.wide || last.state == readDone || last.prospect() == coming {
				continue
			}
			if last.state == readRunning {
				f.tried = append(f.tried, attempt{i, last.at.health})
			}
		}
		f.ask(i, true)
		asked++
	}
	return asked
}

// ask starts to read all columns of shard i.
func (f *fetch) ask(i int, wide bool) {
	helpers := f.rescue.helpers[i]
	r := &shardRead{index: i, from: f.from, buf: f.rescue.buf, wide: wide}
	switch n := len(helpers); {
	case n == 0:
		r.dst = f.rescue.room()
	case helpers[n-1].state == readRunning: // and may yet write where it was told to
		r.dst = make([]byte, f.rescue.width)
	default:
		r.dst = helpers[n-1].dst
	}
	f.rescue.helpers[i] = append(helpers, r)
	f.launch(r)
}

// anyLate tells whether a read that is late may still come.
func (f *fetch) anyLate() bool {
	for i := range f.code.Shards() {
		if f.prospect(i) == late {
			return true
		}
	}
	return false
}

// rescuedAll tells whether every piece is there, be it from elsewhere.
func (f *fetch) rescuedAll() bool {
	for _, p := range f.pieces {
		if p.state != readDone && f.bytes(p.index) == nil {
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
		shards[i] = f.bytes(i)
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
