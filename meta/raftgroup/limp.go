package raftgroup

import (
	"sync/atomic"
	"time"
)

// A log limps after limpAfter writes in a row that took slowWrite or longer, and no more after soundAfter that did not.
const (
	slowWrite  = 50 * time.Millisecond
	limpAfter  = 3
	soundAfter = 8
)

// limp tells a drive that is slow for good from one that was slow once. A host that limps takes part in everything, for a
// quorum does not wait for it; but what it leads waits for each of its writes. note belongs to the loop.
type limp struct {
	slow  bool // the last write was
	inRow int  // so many of its kind
	limps atomic.Bool
}

// note takes in how long a write of the log took.
func (l *limp) note(took time.Duration) {
	if slow := took >= slowWrite; slow != l.slow {
		l.slow, l.inRow = slow, 0
	}
	l.inRow++
	switch {
	case l.slow && l.inRow == limpAfter:
		l.limps.Store(true)
	case !l.slow && l.inRow == soundAfter:
		l.limps.Store(false)
	}
}

// Limps tells whether the drive of the log has been slow for some time: other hosts should lead.
func (h *Host) Limps() bool { return h.loop.limp.limps.Load() }
