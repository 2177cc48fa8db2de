package blob

import (
	"sync"
	"time"
)

// underway knows since when the reads that fetch more than once have been going on: what they look up is
// deleted by other processes only when they are done.
type underway struct {
	mu    sync.Mutex    // guards begun
	begun map[int64]int // Unix second -> reads that began in it
}

// begin notes a read and returns what ends it.
func (u *underway) begin(now time.Time) (second int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.begun == nil {
		u.begun = map[int64]int{}
	}
	u.begun[now.Unix()]++
	return now.Unix()
}

func (u *underway) end(second int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.begun[second]--; u.begun[second] <= 0 {
		delete(u.begun, second)
	}
}

// oldest returns the second in which the oldest read began; ok is false if there is none.
func (u *underway) oldest() (at time.Time, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	first := int64(0)
	for second := range u.begun {
		if !ok || second < first {
			first, ok = second, true
		}
	}
	return time.Unix(first, 0), ok
}

// OldestRead returns when the oldest of the reads that are under way began, to the second before; ok is false if
// there is none. A blob that was queued for deletion after that may still be needed here.
func (s *Store) OldestRead() (at time.Time, ok bool) { return s.underway.oldest() }
