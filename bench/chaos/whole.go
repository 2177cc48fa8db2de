package chaos

import (
	"fmt"

	"kintsugi/bench/chaos/cluster"
	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/oracle"
	"kintsugi/bench/chaos/report"
)

const nameWhole = "all shards, no orphans"

// inlineBytes is the size up to which the store keeps bodies in its metadata, where no drive's audit sees them.
const inlineBytes = 16 << 10

// wholeness is what oracle O6 looks at.
type wholeness struct {
	status *cluster.Status
	audit  *cluster.Audit
	// Bytes of the objects that exist and of those that failed writes may have left until the orphan sweep comes.
	live, leftovers uint64
	// waiting are replaced and deleted bodies that the cluster has not removed yet.
	waiting int
}

func (r *run) wholeness() wholeness {
	w := wholeness{status: r.final, audit: r.audit, waiting: r.watcher.waitingGarbage()}
	book := r.load.Book()
	for key := range int32(book.Keys()) {
		if _, v := book.Current(key); v.SizeBytes > inlineBytes {
			w.live += uint64(v.SizeBytes)
		}
	}
	for _, o := range r.log.Snapshot().Ops {
		// A write without an answer may have left its body; also one that was refused, if its command had to be sent twice.
		if o.Kind == history.Abort && o.Outcome == history.Conflict {
			continue // it was aborted for certain: its parts must go
		}
		if v, known := book.Version(o.Key, o.Version); known && o.Kind.Writes() && o.Kind != history.Delete && o.Outcome != history.OK && v.SizeBytes > inlineBytes {
			w.leftovers += uint64(v.SizeBytes)
		}
	}
	return w
}

// problems says what is not as it should be.
func (w *wholeness) problems() (all []string) {
	a := w.audit
	if a == nil || w.status == nil {
		return []string{"the cluster could not be asked"}
	}
	unreadable := a.Unreadable // of them the drives do not tell which are the remains of writes that were cut off, but the cluster does
	if w.status.Chunks != nil {
		unreadable -= min(unreadable, w.status.Chunks.Abandoned)
	}
	for _, p := range []struct {
		count uint64
		what  string
	}{{unreadable, "chunks cannot be read"}, {a.Chunks - min(a.Chunks, a.Whole) - min(a.Unreadable, a.Chunks), "chunks lack shards on the drives"}, {a.Damaged, "shards are damaged"},
		{a.Disputed, "chunks whose shards disagree"}} {
		if p.count > 0 {
			all = append(all, fmt.Sprintf("%d %s", p.count, p.what))
		}
	}
	if flaw := w.status.Flaw(0); flaw != "" {
		all = append(all, "the cluster does not call itself whole: "+flaw)
	}
	if orphans := w.extra() - int64(w.leftovers); orphans > 0 {
		all = append(all, fmt.Sprintf("%.1f MB on the drives belong to no object; %d bodies wait to be removed", float64(orphans)/1e6, w.waiting))
	}
	if a.Bytes < w.live {
		all = append(all, fmt.Sprintf("%.1f MB of objects are not on the drives", float64(w.live-a.Bytes)/1e6))
	}
	return all
}

// unsettled is what is worth waiting for; "" if there is nothing. What is replaced is removed some time later: without waiting for that
// it would pass for what failed writes have left.
func (w *wholeness) unsettled() string {
	if all := w.problems(); len(all) > 0 {
		return all[0]
	}
	if w.extra() != 0 && w.waiting > 0 {
		return fmt.Sprintf("%d deleted bodies wait to be removed", w.waiting)
	}
	return ""
}

// verdict is that of oracle O6: after healing every chunk has all its shards, and nothing else is left.
func (w wholeness) verdict(faults []fault) oracle.Verdict {
	v := oracle.Verdict{ID: "O6", Name: nameWhole, Status: oracle.Passed}
	for _, p := range w.problems() {
		v.Failures = append(v.Failures, oracle.Failure{Title: p, Seconds: -1})
	}
	for _, f := range faults {
		if f.Status == report.Injected && f.healed == 0 {
			v.Failures = append(v.Failures, oracle.Failure{Title: fmt.Sprintf("fault %d (%s %v) was not mended in time", f.Number, f.Fault.Fault, f.Nodes), Seconds: f.begin.Seconds()})
		}
	}
	if v.Count = len(v.Failures); v.Count > 0 {
		v.Status, v.Summary = oracle.Failed, v.Failures[0].Title
		return v
	}
	v.Summary = fmt.Sprintf("%d chunks whole on the drives, %.0f MB", w.audit.Chunks, float64(w.audit.Bytes)/1e6)
	if extra := w.extra(); extra > 0 {
		v.Summary += fmt.Sprintf("; %.1f MB of them are of writes that failed and wait for the orphan sweep", float64(extra)/1e6)
	}
	return v
}

// extra is how many bytes on the drives belong to no object.
func (w *wholeness) extra() int64 { return int64(w.audit.Bytes) - int64(w.live) }
