package chaos

import (
	"fmt"
	"slices"
	"time"

	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/oracle"
	"kintsugi/bench/chaos/report"
	"kintsugi/bench/chaos/scenario"
)

const nameFence = "late writes are refused"

// A storage node that stopped for fenceLeast is no longer trusted. Writes that were on their way to it in the first fenceTime of that are there
// when it wakes up: with at least fenceWrites of clients, some of them are certain to be.
const (
	fenceLeast  = 4 * time.Second
	fenceTime   = 1500 * time.Millisecond
	fenceWrites = 8
)

// fencing is oracle O9: a storage node that wakes up after others have gone on without it refuses what it was still asked to write, for the
// cluster may have decided otherwise since. Nothing that a client sees could show that: the nodes count it.
func (r *run) fencing(faults []fault, s history.Snapshot) oracle.Verdict {
	expecting := 0
	for _, f := range faults {
		stopped := f.Fault.Fault == string(scenario.Stop) && f.Status == report.Injected && f.end-f.begin >= fenceLeast
		if stopped && slices.ContainsFunc(f.Nodes, r.isStorage) && largeWrites(s, f.begin, f.begin+fenceTime) >= fenceWrites {
			expecting++
		}
	}
	if expecting == 0 {
		return oracle.Skip("O9", nameFence, "no storage node was stopped for long while much was written")
	}
	r.watcher.mu.Lock()
	fenced := r.watcher.fenced
	r.watcher.mu.Unlock()
	v := oracle.Verdict{ID: "O9", Name: nameFence, Status: oracle.Passed, Summary: fmt.Sprintf("nodes that woke up refused %.0f writes", fenced)}
	if fenced == 0 {
		v.Status, v.Count, v.Summary = oracle.Failed, 1, "nodes that woke up refused no write that was late"
		v.Failures = []oracle.Failure{{Title: v.Summary, Seconds: -1, Detail: "writes were on their way to them when they stopped, and the cluster went on without them"}}
	}
	return v
}

func (r *run) isStorage(name string) bool {
	n, err := r.cluster.Node(name)
	return err == nil && (n.Role == scenario.RoleStorage || n.Role == scenario.RoleServer)
}

// largeWrites counts the writes to drives that were under way at some time between two moments.
func largeWrites(s history.Snapshot, from, until time.Duration) (n int) {
	for i := range s.Ops {
		o := &s.Ops[i]
		if o.Kind.Writes() && o.Kind != history.Delete && o.SizeBytes > inlineBytes && o.Begin < until && o.End > from {
			n++
		}
	}
	return n
}
