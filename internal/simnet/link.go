package simnet

import (
	"math/rand/v2"
	"time"
)

// Link says how bytes get from one host to another. The zero value is at once and without bounds.
type Link struct {
	Latency        time.Duration
	Jitter         time.Duration // up to so much is added to Latency
	BytesPerSecond int64         // 0: no bound
	// Loss is the share of writes that has to be sent again, which shows as a delay, as it does with TCP.
	Loss float64
}

// retransmit is TCP's first retransmission timeout on a local network; it doubles with each try.
const retransmit = 200 * time.Millisecond

// link is one direction between two hosts.
type link struct {
	Link
	rand  *rand.Rand
	free  time.Time // when the last byte so far has left
	cut   bool
	cutAt time.Time
}

// arrival returns when size bytes that are sent now are there.
func (l *link) arrival(now time.Time, size int) time.Time {
	left := later(now, l.free)
	if l.BytesPerSecond > 0 {
		left = left.Add(time.Duration(float64(size) / float64(l.BytesPerSecond) * float64(time.Second)))
		l.free = left
	}
	at := left.Add(l.Latency)
	if l.Jitter > 0 {
		at = at.Add(time.Duration(l.rand.Int64N(int64(l.Jitter))))
	}
	for again := retransmit; again < 10*time.Second && l.Loss > 0 && l.rand.Float64() < l.Loss; again *= 2 {
		at = at.Add(again)
	}
	return at
}

// resent returns when what was lost at cutAt arrives on a link that is whole again from now on: the sender has been
// trying at growing distances all the time.
func (l *link) resent(now time.Time) time.Time {
	at, wait := l.cutAt, retransmit
	for at.Before(now) {
		at = at.Add(wait)
		wait *= 2
	}
	return at.Add(l.Latency)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
