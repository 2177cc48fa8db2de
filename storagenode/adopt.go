package storagenode

import (
	"maps"
	"slices"
	"time"

	"kintsugi/placement"
)

// adopt takes a new map and wants those partitions scanned where this drive's part changed.
func (c *core) adopt(now time.Time, m *placement.Map) {
	old := c.m
	c.m = m
	if old == nil || old.Partitions != m.Partitions {
		old = nil
		c.partitions = make([]partition, m.Partitions)
		c.nextPass = now.Add(c.fullPass)
	}
	for p := range uint32(m.Partitions) {
		if old != nil && slices.Equal(old.Homes(p), m.Homes(p)) && slices.Equal(old.Previous(p), m.Previous(p)) {
			continue
		}
		delete(c.reported, p)
		c.clean = slices.DeleteFunc(c.clean, func(x uint32) bool { return x == p })
		if l := c.affected(old, p); l > settled {
			st := &c.partitions[p]
			st.excused, st.tries, st.stuck = nil, 0, false
			c.wantScan(p, l)
		}
	}
	c.queue.reorder(func(t task) int {
		if t.spare < 0 {
			return t.spare
		}
		return min(t.spare, max(0, m.M-gone(m, t.partition)))
	})
	for _, p := range slices.Sorted(maps.Keys(c.reported)) {
		c.tell(now, p) // it was not heard, perhaps because it was of another epoch
	}
	clear(c.reported)
}

// tell puts a partition among those to be reported.
func (c *core) tell(now time.Time, p uint32) {
	if len(c.clean) == 0 {
		c.cleanSince = now
	}
	if !slices.Contains(c.clean, p) {
		c.clean = append(c.clean, p)
	}
}

// affected tells how closely this drive must look at a partition under the new map.
func (c *core) affected(old *placement.Map, p uint32) level {
	moving := c.concerned(p)
	switch {
	case moving:
		return deep
	case old == nil:
		return compare
	}
	before, now := slices.Index(old.Homes(p), c.me), slices.Index(c.m.Homes(p), c.me)
	closed := old.Previous(p) != nil && c.m.Previous(p) == nil
	switch {
	case before != now:
		return deep
	case closed && now < 0:
		return compare // it may have shards to drop
	case closed:
		if slot := slices.Index(old.Previous(p), c.me); slot >= 0 && slot != now {
			return deep // the same, of the slot that it had
		}
	}
	return settled
}

// gone counts the homes that a partition has lost in its open transition, and with them their shards.
func gone(m *placement.Map, p uint32) (n int) {
	homes := m.Homes(p)
	for i, id := range m.Previous(p) {
		if id.IsZero() || id == homes[i] {
			continue
		}
		if d, ok := m.Drive(id); !ok || d.State == placement.Out {
			n++
		}
	}
	return n
}

// concerned tells whether a transition of the partition is open and this drive
// is one of those that bring it about: a new home, or the first if none is new.
func (c *core) concerned(p uint32) bool {
	previous := c.m.Previous(p)
	if previous == nil {
		return false
	}
	homes := c.m.Homes(p)
	slot := slices.Index(homes, c.me)
	if slot < 0 {
		return false
	}
	for i, id := range homes {
		if !id.IsZero() && id != previous[i] {
			return c.me != previous[slot]
		}
	}
	return slot == 0
}
