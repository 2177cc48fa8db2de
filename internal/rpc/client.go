package rpc

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Client calls other processes over pooled connections, one call at a time on each.
type Client struct {
	cfg     Config
	prover  *prover
	metrics *clientMetrics

	mu      sync.Mutex
	peers   map[string]*peer // guarded by mu
	closed  bool             // guarded by mu
	sweeper *time.Timer      // guarded by mu: closes idle connections

	sweeping atomic.Bool    // sweeper will run
	watchers sync.WaitGroup // of streams
}

// NewClient returns a Client without connections.
func NewClient(cfg Config) (*Client, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	prover, err := newProver(cfg)
	if err != nil {
		return nil, err
	}
	metrics, err := newClientMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, prover: prover, metrics: metrics, peers: make(map[string]*peer)}, nil
}

// Do sends a call to addr and waits for the answer until ctx ends. The error is a *StatusError, one of
// this package or that of ctx. When ctx ends the connection is closed: nothing writes to Into afterwards.
func (c *Client) Do(ctx context.Context, addr string, call *Call) (Reply, error) {
	reply, err := c.do(ctx, addr, call)
	if err != nil {
		c.metrics.failed(call.Method, err)
	}
	return reply, err
}

func (c *Client) do(ctx context.Context, addr string, call *Call) (Reply, error) {
	p, err := c.enter(ctx, addr, call)
	if err != nil {
		return Reply{}, err
	}
	defer p.leave()
	a, err := c.start(ctx, p, call)
	if err != nil {
		return Reply{}, err
	}
	reply, err := a.take(call.Into)
	if err != nil {
		a.cut()
		return Reply{}, broken(ctx, addr, err)
	}
	c.done(a)
	return reply, a.failure(addr)
}

// enter returns the peer at an address when one more call may go there.
func (c *Client) enter(ctx context.Context, addr string, call *Call) (*peer, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	if len(call.Head) > MaxHead || len(call.Body) > MaxBody {
		return nil, fmt.Errorf("%w: head of %d bytes, body of %d", ErrTooLarge, len(call.Head), len(call.Body))
	}
	p, err := c.peer(addr)
	if err != nil {
		return nil, err
	}
	return p, p.enter(ctx)
}

func (c *Client) peer(addr string) (*peer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, ErrClosed)
	}
	p := c.peers[addr]
	if p == nil {
		p = newPeer(addr, c.metrics.connections)
		c.peers[addr] = p
	}
	return p, nil
}

// start sends a call and reads the beginning of the answer. A pooled connection that turns out to be dead is replaced once, where
// the call cannot have been executed or may be twice.
func (c *Client) start(ctx context.Context, p *peer, call *Call) (answer, error) {
	for retried := false; ; retried = true {
		l, err := c.link(ctx, p, call, retried)
		if err != nil {
			return answer{}, err
		}
		a, again, err := l.exchange(ctx, call)
		if err == nil {
			c.metrics.exchanged(call, a.header)
			return a, nil
		}
		p.drop(l.raw)
		if !again || retried || ctx.Err() != nil || p.ctx.Err() != nil {
			return answer{}, broken(ctx, p.addr, err)
		}
		p.closeIdle(time.Now())
	}
}

// link returns a pooled connection or a new one. A call that must not be executed twice gets no pooled one that is
// known to be dead.
func (c *Client) link(ctx context.Context, p *peer, call *Call, fresh bool) (*link, error) {
	if fresh {
		return p.connect(ctx, &c.cfg, c.prover)
	}
	l := p.takeIdle()
	if l != nil && !call.Idempotent && l.alive != nil && !l.alive() {
		p.drop(l.raw)
		p.closeIdle(time.Now())
		l = nil
	}
	if l != nil {
		return l, nil
	}
	return p.connect(ctx, &c.cfg, c.prover)
}

// exchange writes the call and reads header and head of the answer. again tells whether it may be sent over another connection
// after an error.
func (l *link) exchange(ctx context.Context, call *Call) (a answer, again bool, err error) {
	a = answer{link: l, stop: l.watch(ctx)}
	n, err := l.write(header{kind: kindCall, method: call.Method, waitMS: waitMS(ctx)}, call.Head, call.Body)
	if err == nil {
		err = l.fill(1)
		again = l.used && call.Idempotent
	} else {
		again = l.used && (call.Idempotent || n == 0)
	}
	if err == nil {
		again = false
		a.header, a.head, err = l.read(nil)
	}
	if err != nil {
		a.stop()
	}
	return a, again, err
}

// watch closes the connection when ctx ends. What it returns ends that, and is false if it happened.
func (l *link) watch(ctx context.Context) (stop func() bool) {
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, l.abort)
}

// waitMS is how long the caller will wait, for the header: at least 1, or 0 for ever.
func waitMS(ctx context.Context) uint32 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := (time.Until(deadline) + time.Millisecond - 1) / time.Millisecond
	return uint32(min(max(left, 1), math.MaxUint32))
}

// broken is the error of a call that was sent.
func broken(ctx context.Context, addr string, err error) error {
	if over := ended(ctx); over != nil {
		return fmt.Errorf("%s: %w", addr, over)
	}
	return fmt.Errorf("%w: %s: %w", ErrBroken, addr, err)
}

// ended is ctx.Err, also in the moment between its deadline and its timer.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// done keeps the connection of an answer that was read to its end.
func (c *Client) done(a answer) {
	if !a.stop() {
		a.link.peer.drop(a.link.raw)
		return
	}
	a.link.peer.putIdle(a.link)
	c.sweepLater()
}

// sweepLater sees to it that idle connections are closed after a while.
func (c *Client) sweepLater() {
	if c.sweeping.Load() || !c.sweeping.CompareAndSwap(false, true) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.sweeper = time.AfterFunc(idleTime/4, c.sweep)
	}
}

func (c *Client) sweep() {
	c.sweeping.Store(false) // before it looks: who comes later arms the timer again
	c.mu.Lock()
	peers := slices.Collect(maps.Values(c.peers))
	c.mu.Unlock()
	left := 0
	for _, p := range peers {
		left += p.closeIdle(time.Now().Add(-idleTime))
	}
	if left > 0 {
		c.sweepLater()
	}
}

// Forget closes all connections to addr: what is in flight fails with ErrBroken at once, what was not sent yet with ErrUnreachable.
func (c *Client) Forget(addr string) {
	c.mu.Lock()
	p := c.peers[addr]
	delete(c.peers, addr)
	c.mu.Unlock()
	if p != nil {
		p.close()
	}
}

// Close closes all connections.
func (c *Client) Close() error {
	c.mu.Lock()
	peers := c.peers
	c.peers, c.closed = nil, true
	if c.sweeper != nil {
		c.sweeper.Stop()
	}
	c.mu.Unlock()
	for _, p := range peers {
		p.close()
	}
	c.watchers.Wait()
	return nil
}
