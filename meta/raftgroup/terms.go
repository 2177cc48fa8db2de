package raftgroup

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// termRounds asks peers in other processes for their terms: what TermSource tells at once in one process. One
// question per peer is under way, for all groups, and all reads that come meanwhile share the next.
type termRounds struct {
	asker TermAsker
	mu    sync.Mutex // guards peers and how long they take
	peers map[uint64]*termPeer
}

// termPeer is the question to one peer.
type termPeer struct {
	id    uint64
	takes time.Duration // to answer, smoothed; guarded by termRounds.mu

	mu   sync.Mutex // guards busy and next
	busy bool
	next *termRound // those that wait for the one under way; nil: none do
}

// termRound is a question and its answer.
type termRound struct {
	done  chan struct{}
	terms []uint64 // by group; valid after done
	err   error
}

const (
	// termHedge is after how long more peers are asked than are needed.
	termHedge = 20 * time.Millisecond
	// termTimeout ends a question; the reads that wait for it then take the way of raft's own messages.
	termTimeout = 500 * time.Millisecond
)

func newTermRounds(t Transport) *termRounds {
	asker, ok := t.(TermAsker)
	if !ok {
		return nil
	}
	return &termRounds{asker: asker, peers: map[uint64]*termPeer{}}
}

// order returns the peers to ask, the fastest first: so a few of them are asked for all groups, and who is slow or
// dead is left alone while others are there.
func (r *termRounds) order(ids []uint64) []*termPeer {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*termPeer, len(ids))
	for i, id := range ids {
		p := r.peers[id]
		if p == nil {
			p = &termPeer{id: id}
			r.peers[id] = p
		}
		list[i] = p
	}
	slices.SortStableFunc(list, func(a, b *termPeer) int { return cmp.Compare(a.takes, b.takes) })
	return list
}

// answered notes how long a peer took.
func (r *termRounds) answered(p *termPeer, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.takes += (took - p.takes) / 8
}

// silent makes a peer the last to be asked, until the others do not answer either.
func (r *termRounds) silent(p *termPeer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.takes = termTimeout
}

// ask returns a question to the peer that begins after the call. Where none is under way the caller has to begin
// it, by run.
func (p *termPeer) ask() (round *termRound, begin bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.busy {
		p.busy = true
		return &termRound{done: make(chan struct{})}, true
	}
	if p.next == nil {
		p.next = &termRound{done: make(chan struct{})}
	}
	return p.next, false
}

// run asks the question of round, and has the next one asked, if somebody waits for it.
func (r *termRounds) run(p *termPeer, round *termRound) {
	ctx, cancel := context.WithTimeout(context.Background(), termTimeout)
	begin := time.Now()
	round.terms, round.err = r.asker.AskTerms(ctx, p.id)
	cancel()
	if round.err == nil {
		r.answered(p, time.Since(begin))
	} else {
		r.silent(p)
	}
	close(round.done)
	p.mu.Lock()
	next := p.next
	p.next, p.busy = nil, next != nil
	p.mu.Unlock()
	if next != nil {
		go r.run(p, next)
	}
}

// termOutcome is what the peers' terms say of a leadership.
type termOutcome int

const (
	termUnknown termOutcome = iota
	termStands              // no later leader existed when the question was asked
	termPast                // somebody votes in a later term
)

// confirmTerm asks as many of the voters as are needed whether they have voted in a later term than t's, and more
// when they are slow. See group.unchallenged for why that is enough.
func (r *termRounds) confirmTerm(ctx context.Context, g *group, t *tenure) termOutcome {
	others, need := t.voters, len(t.voters)/2+1
	if at := slices.Index(t.voters, g.host.cfg.ID); at >= 0 {
		if g.term.Load() > t.term {
			return termPast
		}
		others = slices.Concat(t.voters[at+1:], t.voters[:at]) // not all leaders begin with the same one
		need--
	}
	if need == 0 {
		return termStands
	}
	peers := r.order(others)
	if outcome := r.askFew(ctx, g, t, peers[:need]); outcome != termUnknown {
		return outcome
	}
	return r.askMany(ctx, g, t, peers, need)
}

// askFew asks peers of which every one is needed, and gives up when one is slow.
func (r *termRounds) askFew(ctx context.Context, g *group, t *tenure, peers []*termPeer) termOutcome {
	rounds := make([]*termRound, len(peers))
	for i, p := range peers {
		round, begin := p.ask()
		if begin {
			go r.run(p, round)
		}
		rounds[i] = round
	}
	hedge := time.NewTimer(termHedge)
	defer hedge.Stop()
	for i, round := range rounds {
		select {
		case <-round.done:
			if outcome := round.judge(g, t); outcome != termStands {
				return outcome
			}
		case <-hedge.C:
			r.silent(peers[i]) // the next read need not find that out again
			return termUnknown
		case <-ctx.Done():
			return termUnknown
		}
	}
	return termStands
}

// judge reads the answer of one peer.
func (r *termRound) judge(g *group, t *tenure) termOutcome {
	switch {
	case r.err != nil || int(g.id) >= len(r.terms):
		return termUnknown
	case r.terms[g.id] > t.term:
		return termPast
	}
	return termStands
}

// askMany asks all of the peers and waits for as many as are needed.
func (r *termRounds) askMany(ctx context.Context, g *group, t *tenure, peers []*termPeer, need int) termOutcome {
	outcomes := make(chan termOutcome, len(peers))
	for _, p := range peers {
		go func() {
			round, begin := p.ask()
			if begin {
				r.run(p, round)
			}
			<-round.done // within termTimeout, or twice that
			outcomes <- round.judge(g, t)
		}()
	}
	for left := len(peers); need > 0 && left >= need; left-- {
		select {
		case outcome := <-outcomes:
			if outcome == termPast {
				return termPast
			}
			if outcome == termStands {
				need--
			}
		case <-ctx.Done():
			return termUnknown
		}
	}
	if need > 0 {
		return termUnknown
	}
	return termStands
}
