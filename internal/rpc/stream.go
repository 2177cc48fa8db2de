package rpc

import (
	"context"
	"fmt"
	"sync"
)

// Stream sends one-way calls. One goroutine at a time.
type Stream struct {
	link   *link
	method Method
	done   chan struct{}
	closed sync.Once
	sent   func(bytes int)
}

// Stream opens a connection of its own for calls of one method that are not answered, in order.
func (c *Client) Stream(ctx context.Context, addr string, method Method) (*Stream, error) {
	s, err := c.stream(ctx, addr, method)
	if err != nil {
		c.metrics.failed(method, err)
	}
	return s, err
}

func (c *Client) stream(ctx context.Context, addr string, method Method) (*Stream, error) {
	p, err := c.peer(addr)
	if err != nil {
		return nil, err
	}
	l, err := p.connect(ctx, &c.cfg, c.prover)
	if err != nil {
		return nil, err
	}
	s := &Stream{link: l, method: method, done: make(chan struct{}), sent: c.metrics.sent}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		p.drop(l.raw)
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, ErrClosed)
	}
	c.watchers.Go(s.watch)
	return s, nil
}

// watch waits for the end of the connection: the other end sends nothing on it.
func (s *Stream) watch() {
	defer close(s.done)
	s.link.fill(1)
	s.Close()
}

// Send writes one call. An error ends the stream: earlier calls may be lost, too.
func (s *Stream) Send(ctx context.Context, head, body []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := s.link.watch(ctx)
	n, err := s.link.write(header{kind: kindOneWay, method: s.method}, head, body)
	if !stop() || err != nil {
		s.Close()
		return broken(ctx, s.link.peer.addr, err)
	}
	s.sent(n)
	return nil
}

// Done is closed when the connection is over.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Close ends the stream.
func (s *Stream) Close() error {
	s.closed.Do(func() { s.link.peer.drop(s.link.raw) })
	return nil
}
