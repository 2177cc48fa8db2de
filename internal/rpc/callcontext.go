package rpc

import (
	"context"
	"sync"
	"time"
)

// callContext is the context of a call at the server. Most handlers only pass it on, or ask for its error, so the timer and the
// channel of a real one are made when they are first needed.
type callContext struct {
	server   context.Context // ends with the server
	deadline time.Time       // zero: none

	mu     sync.Mutex
	inner  context.Context // guarded by mu
	cancel context.CancelFunc
	ended  bool // guarded by mu: the handler has returned
}

func newCallContext(server context.Context, waitMS uint32) *callContext {
	c := &callContext{server: server}
	if waitMS > 0 {
		c.deadline = time.Now().Add(time.Duration(waitMS) * time.Millisecond)
	}
	return c
}

// real returns the context that does the work.
func (c *callContext) real() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		if c.deadline.IsZero() {
			c.inner, c.cancel = context.WithCancel(c.server)
		} else {
			c.inner, c.cancel = context.WithDeadline(c.server, c.deadline)
		}
		if c.ended {
			c.cancel()
		}
	}
	return c.inner
}

// end cancels what the handler has left behind.
func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *callContext) Done() <-chan struct{} { return c.real().Done() }

func (c *callContext) Value(key any) any { return c.real().Value(key) }

// Err is exact without the timer.
func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.inner != nil:
		return c.inner.Err()
	case c.server.Err() != nil:
		return c.server.Err()
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	case c.ended:
		return context.Canceled
	}
	return nil
}
