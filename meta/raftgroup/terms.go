package raftgroup

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// termRounds asks peers in other processes for their terms: what TermSource tells at once in one process. One
// question per peer is under way, for all groups, and all reads that come meanwhile share the next.
type termRounds struct {
	asker TermAsker
	mu    sync.Mutex // guards peers
	peers map[uint64]*termPeer
	last  atomic.Uint64 // the peer that answered last: it is asked first
}

// termPeer is the question to one peer.
type termPeer struct {
	id   uint64
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

func (r *termRounds) peer(id uint64) *termPeer {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[id]
	if p == nil {
		p = &termPeer{id: id}
		r.peers[id] = p
	}
	return p
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
	round.terms, round.err = r.asker.AskTerms(ctx, p.id)
	cancel()
	if round.err == nil {
		r.last.Store(p.id)
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
	others := slices.DeleteFunc(slices.Clone(t.voters), func(id uint64) bool { return id == g.host.cfg.ID })
	need := len(t.voters)/2 + 1
	if len(others) < len(t.voters) { // this host is a voter
		if g.term.Load() > t.term {
			return termPast
		}
		need--
	}
	if need <= 0 {
		return termStands
	}
	if at := slices.Index(others, r.last.Load()); at > 0 {
		others[0], others[at] = others[at], others[0]
	}
	if need == 1 {
		if outcome := r.askOne(ctx, g, t, others[0]); outcome != termUnknown {
			return outcome
		}
		others = others[1:]
	}
	return r.askMany(ctx, g, t, others, need)
}

// askOne asks one peer, and gives up when it is slow: the usual case of three voters.
func (r *termRounds) askOne(ctx context.Context, g *group, t *tenure, id uint64) termOutcome {
	p := r.peer(id)
	round, begin := p.ask()
	if begin {
		go r.run(p, round)
	}
	hedge := time.NewTimer(termHedge)
	defer hedge.Stop()
	select {
	case <-round.done:
		return round.judge(g, t)
	case <-hedge.C:
	case <-ctx.Done():
	}
	return termUnknown
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
func (r *termRounds) askMany(ctx context.Context, g *group, t *tenure, peers []uint64, need int) termOutcome {
	outcomes := make(chan termOutcome, len(peers))
	for _, id := range peers {
		go func() {
			p := r.peer(id)
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
