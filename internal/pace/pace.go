// Package pace bounds the rate of background work, in bytes per second or in whatever
// else is counted. It must not know what the work is.
package pace

import (
	"context"
	"sync"
	"time"
)

// Pace lets so many units per second pass. Goroutines may share one.
type Pace struct {
	// PerSecond is the rate; 0 or less is no bound.
	PerSecond int64
	// Busy tells whether more important work is under way: it gets three quarters then. May be nil.
	Busy func() bool

	mu   sync.Mutex // guards paid
	paid time.Time  // when the units that have passed are paid for
}

const (
	burst   = 100 * time.Millisecond // worth of units that may pass at once after a rest
	shortly = 10 * time.Millisecond  // waits below it are left to the next unit: timers have a price
)

// Wait waits until n units may pass, or returns the error of ctx.
func (p *Pace) Wait(ctx context.Context, n int64) error {
	if p.PerSecond <= 0 {
		return ctx.Err()
	}
	rate := p.PerSecond
	if p.Busy != nil && p.Busy() {
		rate = max(1, rate/4)
	}
	wait := p.pay(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	if wait < shortly {
		return ctx.Err()
	}
	return Pause(ctx, wait)
}

// pay adds a cost and returns how long it takes until that is paid for.
func (p *Pace) pay(cost time.Duration) time.Duration {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if rested := now.Add(-burst); p.paid.Before(rested) {
		p.paid = rested
	}
	p.paid = p.paid.Add(cost)
	return p.paid.Sub(now)
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
