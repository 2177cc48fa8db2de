package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// maxInFlight calls go to one peer at a time; more wait. Each has a connection.
	maxInFlight = 256
	// maxIdle connections to one peer are kept, for idleTime at most.
	maxIdle  = 64
	idleTime = time.Minute
)

// link is a pooled connection of the client.
type link struct {
	*conn
	peer  *peer
	abort func()      // closes the connection; made once
	alive func() bool // tells without waiting whether the other end has closed it; nil: unknown
	used  bool        // it carried a call before
	since time.Time   // idle since
}

// peer has the connections to one address.
type peer struct {
	addr    string
	slots   chan struct{}   // one token per call in flight
	ctx     context.Context // ends when the peer is forgotten
	forget  context.CancelFunc
	changed func(by int) // counts open connections

	mu   sync.Mutex
	gone bool                  // guarded by mu: no new connections
	idle []*link               // guarded by mu: the last used is the last
	live map[net.Conn]struct{} // guarded by mu: all, also while they shake hands
}

func newPeer(addr string, changed func(by int)) *peer {
	ctx, forget := context.WithCancel(context.Background())
	return &peer{
		addr: addr, slots: make(chan struct{}, maxInFlight), ctx: ctx, forget: forget,
		live: make(map[net.Conn]struct{}), changed: changed,
	}
}

// enter waits for the right to have one more call in flight.
func (p *peer) enter(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", p.addr, ctx.Err())
	case <-p.ctx.Done():
		return fmt.Errorf("%w: %s: forgotten while waiting", ErrUnreachable, p.addr)
	}
}

func (p *peer) leave() { <-p.slots }

// takeIdle returns the connection that was used last, or nil.
func (p *peer) takeIdle() *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	l := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return l
}

// putIdle keeps a connection for the next call, or closes it.
func (p *peer) putIdle(l *link) {
	l.used, l.since = true, time.Now()
	p.mu.Lock()
	keep := !p.gone && len(p.idle) < maxIdle
	if keep {
		p.idle = append(p.idle, l)
	}
	p.mu.Unlock()
	if !keep {
		p.drop(l.raw)
	}
}

// closeIdle closes the idle connections that were last used at a time or before, and returns how many are left.
func (p *peer) closeIdle(until time.Time) int {
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && !p.idle[n].since.After(until) {
		n++
	}
	old := append([]*link(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	clear(p.idle[len(p.idle):cap(p.idle)])
	left := len(p.idle)
	p.mu.Unlock()
	for _, l := range old {
		p.drop(l.raw)
	}
	return left
}

// add registers a connection, so that forgetting the peer closes it.
func (p *peer) add(raw net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false
	}
	p.live[raw] = struct{}{}
	p.changed(1)
	return true
}

// drop closes a connection that was added.
func (p *peer) drop(raw net.Conn) {
	p.mu.Lock()
	_, live := p.live[raw]
	delete(p.live, raw)
	p.mu.Unlock()
	if live {
		raw.Close()
		p.changed(-1)
	}
}

// close forgets the peer: every call in flight ends.
func (p *peer) close() {
	p.forget()
	p.mu.Lock()
	p.gone = true
	live := p.live
	p.live, p.idle = nil, nil
	p.mu.Unlock()
	for raw := range live {
		raw.Close()
		p.changed(-1)
	}
}

// connect makes a new connection and shakes hands.
func (p *peer) connect(outer context.Context, cfg *Config, prover *prover) (*link, error) {
	ctx, cancel := context.WithTimeout(outer, cfg.DialTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	raw, err := cfg.Dial(ctx, p.addr)
	if err != nil {
		return nil, p.failed(outer, ctx, err)
	}
	if !p.add(raw) {
		raw.Close()
		return nil, p.failed(outer, ctx, errForgotten)
	}
	c, err := prover.dial(ctx, raw)
	if err != nil {
		p.drop(raw)
		return nil, p.failed(outer, ctx, refusal(ctx, err))
	}
	return &link{conn: c, peer: p, abort: func() { raw.Close() }, alive: probe(raw)}, nil
}

var (
	errForgotten   = errors.New("forgotten meanwhile")
	errDialTimeout = errors.New("no connection in time")
)

// failed tells why there is no connection: because of the caller's context (outer), that of the attempt, or err.
func (p *peer) failed(outer, attempt context.Context, err error) error {
	if over := ended(outer); over != nil {
		return fmt.Errorf("%s: %w", p.addr, over)
	}
	switch {
	case p.ctx.Err() != nil:
		err = errForgotten
	case ended(attempt) != nil:
		err = errDialTimeout
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, p.addr, err)
}

// refusal tells a handshake that was refused from one that was cut off. A server closes the connection of a stranger without
// a word, so an orderly end is a refusal; a reset or silence is not.
func refusal(ctx context.Context, err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	lost := ok && (op.Op == "read" || op.Op == "write") // TLS has such errors, too, for alerts
	if ctx.Err() != nil || errors.Is(err, ErrRefused) || lost {
		return err
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}
