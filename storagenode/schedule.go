package storagenode

import (
	"maps"
	"slices"
	"time"
)

// wantScan puts a partition in the line, or leaves word with what is under way in it.
func (c *core) wantScan(p uint32, l level) {
	st := &c.partitions[p]
	st.want = max(st.want, l)
	delete(c.later, p)
	if !st.queued && !st.scanning && st.tasks == 0 {
		st.queued = true
		c.ready = append(c.ready, p)
	}
}

// postpone wants a deep scan after a while, and tells whether that is sooner than one that was wanted already.
func (c *core) postpone(now time.Time, p uint32, wait time.Duration) bool {
	at := now.Add(wait)
	if old, ok := c.later[p]; ok && !at.Before(old) {
		return false
	}
	c.later[p] = at
	if c.nextDue.IsZero() || at.Before(c.nextDue) {
		c.nextDue = at
	}
	return true
}

// backOff postpones twice as long each time. Several reasons to do so between two scans count as one: else the pause
// would outgrow the time for which there is something wrong.
func (c *core) backOff(now time.Time, p uint32) {
	st := &c.partitions[p]
	if c.postpone(now, p, min(c.retry<<min(st.tries, 20), c.maxRetry)) {
		st.tries++
	}
}

// pass wants everything scanned when a full pass is due, spread over a quarter of the time.
func (c *core) pass(now time.Time) {
	if c.m == nil || c.fullPass <= 0 || now.Before(c.nextPass) {
		return
	}
	c.nextPass = now.Add(c.fullPass)
	for p := range c.partitions {
		c.postpone(now, uint32(p), c.fullPass/4*time.Duration(p)/time.Duration(len(c.partitions)))
	}
}

// due wants scanned what was put off until now.
func (c *core) due(now time.Time) {
	if c.nextDue.IsZero() || now.Before(c.nextDue) {
		return
	}
	c.nextDue = time.Time{}
	for _, p := range slices.Sorted(maps.Keys(c.later)) {
		at := c.later[p]
		delete(c.later, p)
		if at.After(now) {
			c.postpone(now, p, at.Sub(now))
			continue
		}
		c.partitions[p].excused, c.partitions[p].stuck = nil, false
		c.wantScan(p, deep)
	}
}

// dispatch starts what there is room for.
func (c *core) dispatch(now time.Time, effects []effect) []effect {
	for c.scans < maxScans && len(c.ready) > 0 && c.queue.count < maxTasks {
		p := c.ready[0]
		c.ready = c.ready[1:]
		st := &c.partitions[p]
		effects = append(effects, scan{p, st.want == deep, len(c.ready) >= manyScans})
		st.queued, st.scanning, st.want = false, true, settled
		c.scans++
	}
	for c.repairs < maxRepairs && c.queue.count > 0 {
		effects = append(effects, c.queue.pop())
		c.repairs++
	}
	idle := len(c.ready) == 0 && c.scans == 0
	if idle && c.repairs == 0 {
		c.compared, c.found = 0, 0
	}
	if len(c.clean) > 0 && (idle || now.Sub(c.cleanSince) >= reportAfter) {
		effects = append(effects, report{c.m.Epoch, c.clean})
		for _, p := range c.clean { // until the map says that it was heard
			c.reported[p] = struct{}{}
			c.postpone(now, p, min(16*c.retry, c.maxRetry))
		}
		c.clean = nil
	}
	return effects
}

// wake names the time of the next tick, zero if none is needed.
func (c *core) wake() time.Time {
	at := time.Time{}
	if c.fullPass > 0 && c.m != nil {
		at = c.nextPass
	}
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if !c.nextDue.IsZero() {
		sooner(c.nextDue)
	}
	if len(c.clean) > 0 {
		sooner(c.cleanSince.Add(reportAfter))
	}
	return at
}
