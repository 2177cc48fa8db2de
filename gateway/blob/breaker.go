package blob

import (
	"sync"
	"sync/atomic"
	"time"
)

// breaker keeps requests away from a drive that fails or hangs. It opens
// after some failures in a row, for a pause that doubles with every probe that fails. It also
// stays open while a call that was made long ago, and was given up, has not returned: a
// hung drive gets no more memory to sit on.
type breaker struct {
	limit    int // failures in a row that open it
	pause    time.Duration
	pauseMax time.Duration
	grace    time.Duration // for calls that were given up

	closed atomic.Bool // mirrors the rest: a drive without failures is asked without the mutex

	mu       sync.Mutex // guards the rest
	failures int
	hung     int       // calls that were given up and have not returned
	hungAt   time.Time // when the first of them was made
	blamed   bool      // one of them took so long that it counts as a failure
	until    time.Time // open until then; the next probe then
	wait     time.Duration
	probe    bool // since the last pause was over, a request was allowed
}

func newBreaker(c Config, grace time.Duration) *breaker {
	b := &breaker{limit: c.BreakerFailures, pause: c.BreakerPause, pauseMax: c.BreakerPauseMax, grace: grace}
	b.closed.Store(true)
	return b
}

// allow tells whether to send a request. Once a pause is over it allows one, the probe, per further pause.
func (b *breaker) allow(now time.Time) bool {
	if b.closed.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.stuck(now):
		return false
	case b.failures < b.limit:
		return true
	case now.Before(b.until):
		return false
	}
	b.until, b.probe = now.Add(b.wait), true
	return true
}

// open tells whether the breaker keeps requests away, without claiming a probe.
func (b *breaker) open() bool {
	if b.closed.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stuck(time.Now()) || b.failures >= b.limit
}

// success closes the breaker.
func (b *breaker) success() {
	if b.closed.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.wait, b.probe = 0, 0, false
	b.closed.Store(b.hung == 0)
}

// failure counts one.
func (b *breaker) failure(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	b.reckon(now)
}

// trip opens the breaker whatever the count: the drive says that it is gone or full.
func (b *breaker) trip(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = max(b.limit, b.failures+1)
	b.reckon(now)
}

// abandon notes that a call was given up that was made at since; returned must follow when it comes back.
func (b *breaker) abandon(since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hung++; b.hung == 1 || since.Before(b.hungAt) {
		b.hungAt = since
	}
	b.closed.Store(false)
}

// returned says that an abandoned call came back, and whether it took so long that it counts as a failure. Calls that
// were stuck together count once: it was one hiccup.
func (b *breaker) returned(now time.Time, blame bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blamed = b.blamed || blame
	if b.hung--; b.hung > 0 {
		return
	}
	if b.blamed {
		b.blamed = false
		b.failures++
		b.reckon(now)
	}
	b.closed.Store(b.failures == 0)
}

// maxHung is how many calls may be given up at once before the drive gets no more, grace or not.
const maxHung = 4

// stuck is called with mu held.
func (b *breaker) stuck(now time.Time) bool {
	return b.hung > maxHung || b.hung > 0 && now.Sub(b.hungAt) >= b.grace
}

// reckon sets the next pause after a failure. Called with mu held. Of the failures of
// requests that were sent before the breaker opened, only the first begins one.
func (b *breaker) reckon(now time.Time) {
	b.closed.Store(false)
	if b.failures < b.limit || b.wait > 0 && !b.probe {
		return
	}
	b.probe = false
	b.wait = min(max(2*b.wait, b.pause), b.pauseMax)
	b.until = now.Add(b.wait)
}
