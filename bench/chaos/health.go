package chaos

import (
	"cmp"
	"fmt"
	"time"

	"kintsugi/bench/chaos/cluster"
	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/oracle"
	"kintsugi/bench/chaos/report"
)

const (
	nameTheory = "repair costs what it must"
	nameHealth = "processes stay well"
)

// repairSlackBytes is what repair may read beside the shards themselves.
const repairSlackBytes = 32 << 20

// theory is oracle O7: to rebuild one shard takes k others and no more, and who was away for a moment gets what it has missed and no more.
func (r *run) theory(faults []fault, ops []history.Op) oracle.Verdict {
	v := oracle.Verdict{ID: "O7", Name: nameTheory, Status: oracle.Passed}
	read, written := r.watcher.sum()
	k := float64(r.config.Scenario.Cluster.Code.K)
	ratio := 0.0
	if written > 0 {
		ratio = read / written
	}
	v.Summary = fmt.Sprintf("%.0f MB read to write %.0f MB: %.2f, theory allows %.0f", read/1e6, written/1e6, ratio, k)
	if read > k*written*1.1+repairSlackBytes {
		v.Status, v.Count = oracle.Failed, 1
		v.Failures = []oracle.Failure{{Title: v.Summary, Seconds: -1}}
	}
	if most, known := missed(faults, ops, r.config.Scenario.Cluster); known {
		v.Summary += fmt.Sprintf("; nodes that were away missed about %.0f MB", most/1e6)
		if written > missedFactor*most+repairSlackBytes {
			v.Status, v.Count = oracle.Failed, v.Count+1
			v.Failures = append(v.Failures, oracle.Failure{Title: v.Summary, Seconds: -1})
		}
	}
	return v
}

// latestUsages is what each process had when it was last looked at.
func (w *watcher) latestUsages() []usage { return w.usagesBefore(w.log.Now()) }

// usagesBefore is the last look at each process before a time.
func (w *watcher) usagesBefore(limit time.Duration) (last []usage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := map[string]int{}
	for _, u := range w.usages {
		if u.at > limit {
			break
		}
		i, known := at[u.node]
		if !known {
			i = len(last)
			at[u.node] = i
			last = append(last, u)
		}
		last[i] = u
	}
	return last
}

func (w *watcher) allSamples() []report.Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.samples[:len(w.samples):len(w.samples)]
}

// How much more than before the first fault a process may have at the end: a factor, and so much more. Connections to other nodes that a
// rebuild has opened are kept for a minute, with a descriptor and a goroutine each.
const (
	usageFactor    = 1.5
	moreResident   = 192 << 20
	moreFiles      = 300
	moreGoroutines = 400
)

// health is oracle O8: no process panics or ends by itself, and what they have of the machine is again about what it was.
func (r *run) health(faults []fault) oracle.Verdict {
	v := oracle.Verdict{ID: "O8", Name: nameHealth, Status: oracle.Passed}
	r.watcher.mu.Lock()
	v.Failures = append(v.Failures, r.watcher.deaths...)
	panics := r.watcher.panics
	r.watcher.mu.Unlock()
	if panics > 0 {
		v.Failures = append(v.Failures, oracle.Failure{Title: fmt.Sprintf("%.0f requests ended in a panic that was caught", panics), Seconds: -1})
	}
	for _, n := range r.cluster.Nodes() {
		if lines, err := n.Panics(); err != nil {
			v.Failures = append(v.Failures, oracle.Failure{Title: err.Error(), Seconds: -1})
		} else if lines != nil {
			v.Failures = append(v.Failures, oracle.Failure{Title: n.Name + " panicked", Seconds: -1, Logs: lines})
		}
	}
	first := r.loadEnd
	if len(faults) > 0 {
		first = faults[0].begin
	}
	base := map[string]cluster.Usage{}
	for _, u := range r.watcher.usagesBefore(first) {
		base[u.node] = u.Usage
	}
	var worst cluster.Usage
	for _, u := range r.endUsages {
		v.Failures = append(v.Failures, swollen(u, base[u.node])...)
		worst = cluster.Usage{Resident: max(worst.Resident, u.Resident), Files: max(worst.Files, u.Files), Goroutines: max(worst.Goroutines, u.Goroutines)}
	}
	v.Summary = fmt.Sprintf("no panic; at the end at most %d MB, %d descriptors and %d goroutines in a process", worst.Resident>>20, worst.Files, worst.Goroutines)
	if v.Count = len(v.Failures); v.Count > 0 {
		v.Status, v.Summary = oracle.Failed, v.Failures[0].Title
	}
	return v
}

// swollen compares a process with what it was.
func swollen(now usage, base cluster.Usage) (failures []oracle.Failure) {
	for _, c := range []struct {
		what          string
		was, is, more int64
	}{
		{"bytes of memory", base.Resident, now.Resident, moreResident},
		{"descriptors", int64(base.Files), int64(now.Files), moreFiles},
		{"goroutines", int64(base.Goroutines), int64(now.Goroutines), moreGoroutines},
	} {
		if float64(c.is) > usageFactor*float64(cmp.Or(c.was, c.is))+float64(c.more) {
			failures = append(failures, oracle.Failure{Title: fmt.Sprintf("%s has %d %s, before the first fault it had %d", now.node, c.is, c.what, c.was), Seconds: -1})
		}
	}
	return failures
}
