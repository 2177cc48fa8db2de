package chaos

import (
	"time"

	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/report"
	"kintsugi/bench/chaos/scenario"
)

// missedFactor is how much more than what nodes have missed repair may write.
const missedFactor = 1.2

// missed is what nodes did not hear of while they were away, in bytes, if that is all that repair has to do: no fault took more than m nodes away,
// and none for so long that their drives were given up. Of the chunks that are written meanwhile each node lacks a shard where it is a home.
// Who comes and goes all the time must not cost more than that.
func missed(faults []fault, ops []history.Op, c scenario.Cluster) (bytes float64, known bool) {
	home := min(1, float64(c.Code.K+c.Code.M)/float64(c.Nodes)) // of so many chunks a node is one
	for i := range faults {
		f := &faults[i]
		if f.Status != report.Injected {
			continue
		}
		switch scenario.Fault(f.Fault.Fault) {
		case scenario.Kill, scenario.Stop, scenario.Restart:
		default:
			return 0, false
		}
		if len(f.Nodes) > c.Code.M || f.end-f.begin >= c.OutAfter {
			return 0, false
		}
		known = true
		bytes += float64(len(f.Nodes)) * home * writtenBetween(ops, f.begin, max(f.end, f.back)) / float64(c.Code.K)
	}
	return bytes, known
}

// writtenBetween is the size of all bodies that may have been written to drives at some time between two moments.
func writtenBetween(ops []history.Op, from, until time.Duration) (bytes float64) {
	for i := range ops {
		o := &ops[i]
		happened := o.Outcome == history.OK || o.Doubtful()
		if happened && o.Kind.Writes() && o.Kind != history.Delete && o.SizeBytes > inlineBytes && o.Begin < until && o.End > from {
			bytes += float64(o.SizeBytes)
		}
	}
	return bytes
}
