package shardstore

import (
	"context"
	"time"
)

// pace bounds the rate of background work.
type pace struct {
	perSecond int64
	due       time.Time
}

func newPace(bytesPerSecond int64) *pace {
	return &pace{perSecond: bytesPerSecond, due: time.Now()}
}

// wait waits until another n bytes are due.
func (p *pace) wait(ctx context.Context, n int64) error {
	if p.perSecond <= 0 {
		return ctx.Err()
	}
	delay := time.Until(p.due)
	if delay < 0 {
		p.due = p.due.Add(-delay) // time without work is no credit
	}
	p.due = p.due.Add(time.Duration(float64(n) / float64(p.perSecond) * float64(time.Second)))
	if delay < 10*time.Millisecond {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
