package membership

import (
	"maps"
	"slices"
	"time"

	"kintsugi/internal/rpc"
)

// NodeStatus is a node as the coordinator sees it.
type NodeStatus struct {
	Beat  Beat // its last, without what is clean; only Node and the drives' ids if it has not sent one to this coordinator
	Up    bool
	Since time.Time // when it became so
	Heard time.Time // when the beat came; zero: not yet
}

// Status lists the nodes by name.
func (t *Table) Status() []NodeStatus {
	all := make([]NodeStatus, 0, len(t.nodes))
	for _, name := range slices.Sorted(maps.Keys(t.nodes)) {
		e := t.nodes[name]
		s := NodeStatus{Beat: e.last, Up: e.up, Since: e.since}
		s.Beat.Node, s.Beat.Drives = e.node, slices.Clone(e.drives)
		if e.beaten {
			s.Heard = e.heard
		}
		all = append(all, s)
	}
	return all
}

// silentReads is how long a gateway that fell silent is taken to read on: it may be cut off from the coordinator alone.
const silentReads = time.Minute

// OldestRead returns the start of the oldest read that a gateway may have under way, in Unix milliseconds by its clock, or
// now. ok is false while a gateway that may be there has not spoken.
func (t *Table) OldestRead(now time.Time) (oldest int64, ok bool) {
	oldest = now.UnixMilli()
	for _, e := range t.nodes {
		if e.node.Roles&rpc.Gateway == 0 || e.last.Leaving || !e.up && now.Sub(e.heard) >= silentReads {
			continue
		}
		if !e.beaten {
			return 0, false
		}
		if !e.up {
			oldest = min(oldest, e.heard.UnixMilli())
		}
		if e.last.OldestRead > 0 {
			oldest = min(oldest, e.last.OldestRead)
		}
	}
	return oldest, true
}

// Status returns the table; an error if another node coordinates.
func (c *Coordinator) Status() ([]NodeStatus, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leading(time.Now()) {
		return nil, c.notCoordinator()
	}
	return c.term.table.Status(), nil
}
