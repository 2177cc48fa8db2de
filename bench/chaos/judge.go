package chaos

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/oracle"
	"kintsugi/bench/chaos/report"
)

// judge asks the oracles and gathers the report.
func (r *run) judge() report.Data {
	s := r.log.Snapshot()
	faults := r.director.snapshot()
	allowed := windows(faults)
	usual := s.Usual()
	d := report.Data{
		Format: report.Format, Scenario: r.config.Scenario.Name, Proves: r.config.Scenario.Proves, Seed: r.config.Seed, Replay: r.config.Replay,
		Began: r.log.Began().UTC(), Seconds: r.loadEnd.Seconds(), Total: time.Since(r.began).Seconds(), Cluster: r.info(),
		Kinds: report.NewKinds(usual.Ops), Errors: report.NewErrors(usual, allowed), Timeline: report.NewTimeline(usual.Ops, r.loadEnd), Early: r.early,
	}
	d.Verdicts = []oracle.Verdict{oracle.Bytes(s), oracle.Linear(s), r.swept(s), oracle.Honest(s), oracle.Served(usual, allowed)}
	if r.watcher == nil {
		const reason = "only the cluster's own tools could tell"
		d.Verdicts = append(d.Verdicts, oracle.Skip("O6", nameWhole, reason), oracle.Skip("O7", nameTheory, reason), oracle.Skip("O8", nameHealth, reason), oracle.Skip("O9", nameFence, reason))
	} else {
		d.Samples = r.watcher.allSamples()
		d.Verdicts = append(d.Verdicts, r.whole(faults), r.theory(faults, s.Ops), r.health(faults), r.fencing(faults, s))
	}
	for _, f := range faults {
		d.Faults = append(d.Faults, summary(f, usual.Ops))
	}
	d.Result = d.NewResult()
	r.attachLogs(d.Verdicts)
	return d
}

// swept is oracle O3, if everything was read at the end.
func (r *run) swept(s history.Snapshot) oracle.Verdict {
	if r.early {
		return oracle.Skip("O3", oracle.NameSweep, reasonEarly)
	}
	return oracle.Sweep(s, r.load.Book())
}

// whole is oracle O6, if the drives were looked at at the end.
func (r *run) whole(faults []fault) oracle.Verdict {
	if r.early {
		return oracle.Skip("O6", nameWhole, reasonEarly)
	}
	return r.wholeness().verdict(faults)
}

const reasonEarly = "the run was broken off before it could be seen"

// summary adds to a fault what became of the requests meanwhile.
func summary(f fault, ops []history.Op) report.Fault {
	out := f.Fault
	out.Begin, out.End = f.begin.Seconds(), f.end.Seconds()
	until := f.recovered()
	if f.detected > 0 {
		out.Detected = seconds(f.detected)
	}
	if f.healed > 0 {
		out.Restored = seconds(f.healed - f.begin)
	}
	if f.Status != report.Injected {
		return out
	}
	var took []time.Duration
	for i := range ops {
		o := &ops[i]
		if o.Begin > until || o.End < f.begin || o.Final {
			continue
		}
		out.Requests++
		if o.Outcome.Failed() {
			out.Errors++
		}
		took = append(took, o.Took())
	}
	slices.Sort(took)
	out.P99, out.Worst = report.Quantile(took, 0.99), report.Quantile(took, 1)
	return out
}

func seconds(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}

// maxLogLines bounds what of the processes' logs is shown with a failure, and logAround is how far before and after.
const (
	maxLogLines = 60
	logAround   = 2 * time.Second
)

// attachLogs adds to each failure what the processes wrote about that time.
func (r *run) attachLogs(verdicts []oracle.Verdict) {
	if r.cluster == nil {
		return
	}
	for i := range verdicts {
		for j := range verdicts[i].Failures {
			if f := &verdicts[i].Failures[j]; f.Seconds >= 0 && len(f.Logs) == 0 {
				f.Logs = r.logsAround(time.Duration(f.Seconds * float64(time.Second)))
			}
		}
	}
}

func (r *run) logsAround(at time.Duration) (lines []string) {
	const layout = "2006-01-02T15:04:05.000"
	from := r.log.Began().Add(at - logAround).UTC().Format(layout)
	until := r.log.Began().Add(at + logAround).UTC().Format(layout)
	for _, n := range r.cluster.Nodes() {
		size := n.LogSize()
		const enough = 4 << 20
		data, err := n.ReadLog(max(0, size-enough), enough)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(data) {
			stamp, found := bytes.CutPrefix(line, []byte("time="))
			if found && string(stamp) >= from && string(stamp) < until {
				lines = append(lines, fmt.Sprintf("%-3s %s", n.Name, strings.TrimSpace(string(stamp))))
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(a[4:], b[4:]) })
	return lines[:min(len(lines), maxLogLines)]
}
