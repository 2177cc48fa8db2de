package blob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardstore"
)

// shardRound sends the shards of one chunk to their drives and waits until enough of
// them are durable. All but the puts' own goroutines run in one.
type shardRound struct {
	s *Store
	m *placement.Map
	assignment
	header  shardstore.Header // ID.Index is set per shard
	shards  [][]byte
	buffers [2]*buffer // that the shards lie in

	puts    []*shardPut
	results chan *shardPut // has room for every put, so that none is kept waiting
	start   time.Time
	tally   tally
	ranked  bool // spares were looked up
	exclude []placement.DriveID
	cause   error               // the first failure of a drive
	stale   uint64              // a drive refused its shard: there is a map of this epoch
	fenced  []placement.DriveID // refused their shards because their nodes have no lease
}

// shardPut is one shard on its way to one drive.
type shardPut struct {
	round *shardRound
	index int
	to    target
	sent  time.Time
	err   error        // valid once it is among the results
	state atomic.Int32 // putRunning, then one of the others
	late  bool
}

const (
	putRunning int32 = iota
	putReturned
	putAbandoned // its drive let us down
	putForgotten // we let it down
)

// launchAll sends every shard to its target; those without one are missing from the start.
func (r *shardRound) launchAll() {
	r.start = time.Now()
	r.results = make(chan *shardPut, len(r.m.Drives)+len(r.targets))
	r.puts = make([]*shardPut, 0, len(r.targets))
	r.tally = newTally(len(r.targets), r.need, r.code.K)
	for i, t := range r.targets {
		r.launch(i, t)
	}
}

func (r *shardRound) launch(index int, to target) {
	p := &shardPut{round: r, index: index, to: to, sent: time.Now()}
	r.puts = append(r.puts, p)
	r.tally.sent(index)
	if !r.s.enter() {
		p.err = ErrClosed
		p.state.Store(putReturned)
		r.results <- p
		return
	}
	r.buffers[0].retain()
	r.buffers[1].retain()
	go p.run()
}

// run puts the shard. It may outlive the request, with the buffers that it reads.
func (p *shardPut) run() {
	r := p.round
	defer r.s.background.Done()
	header := r.header
	header.ID.Index = uint8(p.index)
	p.err = p.to.drive.Put(r.s.ctx, header, r.shards[p.index])
	r.buffers[0].release()
	r.buffers[1].release()
	if p.state.CompareAndSwap(putRunning, putReturned) {
		judge(p.to.health.writes, p.err)
		r.results <- p
		return
	}
	if p.state.Load() == putAbandoned {
		p.to.health.writes.returned(time.Now(), true)
	}
}

// wait returns nil when the chunk is good, an error wrapping errQuorum when too many drives
// have failed it, or else the error of ctx.
func (r *shardRound) wait(ctx context.Context) error {
	timer := time.NewTimer(r.s.config.WriteTimeout)
	defer timer.Stop()
	gaveUp := false
	for {
		switch r.tally.outcome(gaveUp) {
		case good:
			r.leave()
			r.hintMissing()
			return nil
		case bad:
			r.leave()
			return r.missed()
		}
		select {
		case p := <-r.results:
			r.settle(p)
		case <-timer.C:
			gaveUp = r.expire(time.Now())
		case <-ctx.Done():
			r.forget()
			return ctx.Err()
		}
		if r.tally.kth > 0 { // before, only WriteTimeout counts
			timer.Reset(time.Until(r.nextExpiry()))
		}
	}
}

func (r *shardRound) missed() error {
	cause := r.cause
	if cause == nil {
		cause = context.DeadlineExceeded
	}
	return fmt.Errorf("%w: %d of %d shards of %s durable, %d needed: %w", errQuorum, r.tally.durable, r.code.Shards(), r.code, r.need, cause)
}

// settle takes note of how a put ended. A drive that failed is stood in for at once.
func (r *shardRound) settle(p *shardPut) {
	r.tally.answered(p.index, p.late, p.err == nil, time.Since(r.start))
	if p.err == nil {
		return
	}
	if r.cause == nil {
		r.cause = p.err
	}
	if epoch, ok := storagenode.StaleMap(p.err); ok {
		r.stale = max(r.stale, epoch) // others would refuse it, too
		return
	}
	if errors.Is(p.err, storagenode.ErrFenced) {
		r.fenced = append(r.fenced, p.to.health.id)
	} else {
		r.exclude = append(r.exclude, p.to.health.id)
	}
	if !p.late { // else it was stood in for when it got late
		r.substitute(p.index)
	}
}

// expire stands in for what took too long, and tells whether to give up on it.
func (r *shardRound) expire(now time.Time) bool {
	running := len(r.puts)
	for _, p := range r.puts[:running] {
		if p.late || p.state.Load() != putRunning || now.Before(r.lateAt(p)) {
			continue
		}
		p.late = true
		r.tally.delayed(p.index)
		r.s.metrics.writeHedges.Inc()
		if !r.tally.slots[p.index].durable {
			r.substitute(p.index)
		}
	}
	return !now.Before(r.giveUpAt())
}

// substitute sends shard index to the next drive in the ranking that has none, if there is one.
func (r *shardRound) substitute(index int) {
	if !r.ranked {
		r.ranked = true
		if len(r.spares) == 0 && len(r.m.Drives) > len(r.targets) {
			r.spares = r.s.spares(r.m, r.header.Partition, r.targets, r.exclude)
		}
	}
	if len(r.spares) == 0 {
		return
	}
	t := r.spares[0]
	r.spares = r.spares[1:]
	r.s.metrics.substitutes.Inc()
	r.launch(index, t)
}

// lateAt is when a put has had its time: only once k shards are durable, and in proportion to what they took, so
// that a drive is late compared with the others, never with a clock.
func (r *shardRound) lateAt(p *shardPut) time.Time {
	if r.tally.kth == 0 {
		return r.start.Add(r.s.config.WriteTimeout)
	}
	return p.sent.Add(max(r.s.config.WriteHedge, 3*r.tally.kth))
}

// giveUpAt is when late puts get no more time and the chunk is coded anew.
func (r *shardRound) giveUpAt() time.Time {
	if r.tally.kth == 0 {
		return r.start.Add(r.s.config.WriteTimeout)
	}
	return r.start.Add(min(max(r.s.config.WriteGiveUp, 6*r.tally.kth), r.s.config.WriteTimeout))
}

// nextExpiry is when expire has something to do.
func (r *shardRound) nextExpiry() time.Time {
	next := time.Time{}
	for _, p := range r.puts {
		if p.late || p.state.Load() != putRunning {
			continue
		}
		if at := r.lateAt(p); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if next.IsZero() {
		return r.giveUpAt()
	}
	return next
}

// leave gives up the puts that have not returned: they count against their drives, and the buffers
// that they read count no longer.
func (r *shardRound) leave() {
	for _, p := range r.puts {
		if p.state.Load() != putRunning {
			continue
		}
		p.to.health.writes.abandon(p.sent)
		if !p.state.CompareAndSwap(putRunning, putAbandoned) {
			p.to.health.writes.returned(time.Now(), false) // just now
			continue
		}
		r.exclude = append(r.exclude, p.to.health.id)
		r.buffers[0].abandon()
		r.buffers[1].abandon()
	}
}

// forget leaves the puts to themselves because nobody wants the chunk any more. Their drives are not to blame.
func (r *shardRound) forget() {
	for _, p := range r.puts {
		p.state.CompareAndSwap(putRunning, putForgotten)
	}
}

// hintMissing tells repair of the shards that are not at home.
func (r *shardRound) hintMissing() {
	id := r.header.ID
	for i := range r.code.Shards() {
		if i >= len(r.targets) || !r.tally.slots[i].durable || r.substituted(i) {
			id.Index = uint8(i)
			r.s.config.Hint(id)
		}
	}
}

// substituted tells whether shard i was sent to more than its home.
func (r *shardRound) substituted(i int) bool {
	return slices.ContainsFunc(r.puts[len(r.targets):], func(p *shardPut) bool { return p.index == i })
}

// discard removes what the round wrote, in the background.
func (r *shardRound) discard() {
	deletions := make(map[target][]placement.ShardID, len(r.puts))
	for _, p := range r.puts {
		id := r.header.ID
		id.Index = uint8(p.index)
		deletions[p.to] = append(deletions[p.to], id)
	}
	r.s.deleteLater(deletions)
}
