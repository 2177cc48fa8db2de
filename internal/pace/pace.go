// Package pace bounds the rate of background work, in bytes per second or in whatever
// else is counted. It must not know what the work is.
package pace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Pace lets so many units per second pass. Goroutines may share one.
type Pace struct {
	// PerSecond is the rate; 0 or less is no bound.
	PerSecond int64
	// Busy tells whether more important work is under way: it gets three quarters then. May be nil.
	Busy func() bool

	changed atomic.Int64 // what Set said; 0: nothing yet

	mu   sync.Mutex    // guards the rest
	paid time.Time     // when the units that have passed are paid for
	free chan struct{} // closed by Set; nil until somebody may wait
}

const (
	burst   = 100 * time.Millisecond // worth of units that may pass at once after a rest
	shortly = 10 * time.Millisecond  // waits below it are left to the next unit: timers have a price
)

// Set changes the rate from now on; 0 or less is no bound. Who waits at the old rate is let go.
func (p *Pace) Set(perSecond int64) {
	if perSecond <= 0 {
		perSecond = -1
	}
	if p.changed.Swap(perSecond) == perSecond {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paid = time.Time{}
	if p.free != nil {
		close(p.free)
		p.free = nil
	}
}

func (p *Pace) rate() int64 {
	if changed := p.changed.Load(); changed != 0 {
		return changed
	}
	return p.PerSecond
}

// Wait waits until n units may pass, or returns the error of ctx.
func (p *Pace) Wait(ctx context.Context, n int64) error {
	rate := p.rate()
	if rate <= 0 {
		return ctx.Err()
	}
	if p.Busy != nil && p.Busy() {
		rate = max(1, rate/4)
	}
	wait, free := p.pay(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	if wait < shortly {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-free:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pay adds a cost and returns how long it takes until that is paid for, and a channel that ends the wait early.
func (p *Pace) pay(cost time.Duration) (time.Duration, <-chan struct{}) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == nil {
		p.free = make(chan struct{})
	}
	if rested := now.Add(-burst); p.paid.Before(rested) {
		p.paid = rested
	}
	p.paid = p.paid.Add(cost)
	return p.paid.Sub(now), p.free
}

// Pause waits for d, or returns the error of ctx.
func Pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
