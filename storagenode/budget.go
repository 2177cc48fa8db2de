package storagenode

import (
	"context"
	"sync"
	"time"
)

// budget lets so many bytes per second pass. It is a token bucket that holds a
// tenth of a second; while foreground traffic is busy it gives a quarter.
type budget struct {
	perSecond int64 // 0: no limit
	busy      func() bool

	mu   sync.Mutex // guards free
	free time.Time  // when the bytes given out so far are paid for
}

const burst = time.Second / 10

// take waits until n bytes may be moved.
func (b *budget) take(ctx context.Context, n int64) error {
	if b.perSecond <= 0 {
		return ctx.Err()
	}
	rate := b.perSecond
	if b.busy != nil && b.busy() {
		rate = max(1, rate/4)
	}
	cost := time.Duration(float64(n) / float64(rate) * float64(time.Second))
	now := time.Now()
	b.mu.Lock()
	if earliest := now.Add(-burst); b.free.Before(earliest) {
		b.free = earliest
	}
	b.free = b.free.Add(cost)
	wait := b.free.Sub(now)
	b.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
