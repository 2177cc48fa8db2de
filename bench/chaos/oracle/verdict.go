package oracle

import (
	"cmp"
	"fmt"
	"slices"

	"kintsugi/bench/chaos/history"
)

// Status is how an oracle decided.
type Status string

const (
	Passed    Status = "passed"
	Failed    Status = "failed"
	Undecided Status = "undecided" // it could not be found out, which is no pass
	Skipped   Status = "skipped"   // it cannot be found out here, and the summary says why
)

// Verdict is what an oracle says of a run.
type Verdict struct {
	ID       string    `json:"id"` // O1 to O8
	Name     string    `json:"name"`
	Status   Status    `json:"status"`
	Summary  string    `json:"summary"`
	Failures []Failure `json:"failures,omitempty"` // the first ones
	Count    int       `json:"count"`              // of all failures
}

// Failure is one proof that something is wrong.
type Failure struct {
	Title   string   `json:"title"`
	Seconds float64  `json:"seconds"` // since the begin of the run; negative: at no certain time
	Key     string   `json:"key,omitempty"`
	Detail  string   `json:"detail,omitempty"`
	History []string `json:"history,omitempty"` // of the key, around it; the operation itself is marked by ">"
	Logs    []string `json:"logs,omitempty"`    // of the processes, around it
}

// maxFailures bounds how many proofs a verdict shows.
const maxFailures = 10

// judge makes the verdict of all failures.
func judge(id, name, good string, failures []Failure) Verdict {
	v := Verdict{ID: id, Name: name, Status: Passed, Summary: good, Count: len(failures)}
	if len(failures) == 0 {
		return v
	}
	slices.SortStableFunc(failures, func(a, b Failure) int { return cmp.Compare(a.Seconds, b.Seconds) })
	v.Status, v.Summary = Failed, fmt.Sprintf("%d: %s", len(failures), failures[0].Title)
	v.Failures = failures[:min(len(failures), maxFailures)]
	return v
}

// Skip is the verdict of an oracle that cannot look.
func Skip(id, name, reason string) Verdict {
	return Verdict{ID: id, Name: name, Status: Skipped, Summary: reason}
}

// failure shows an operation with the history of its key.
func failure(title string, at history.Op, detail string, ops []history.Op) Failure {
	f := Failure{Title: title, Seconds: at.Begin.Seconds(), Detail: detail, History: around(at, ops)}
	if at.Key >= 0 {
		f.Key = history.KeyName(at.Key)
	}
	return f
}

// aroundOps is how many operations before and after are shown.
const aroundOps = 12

// around are the operations of the key about the same time, by begin.
func around(at history.Op, ops []history.Op) []string {
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(a, b history.Op) int { return cmp.Compare(a.Begin, b.Begin) })
	i := slices.Index(ops, at)
	if i < 0 {
		return []string{"> " + at.String()}
	}
	var lines []string
	for j := max(0, i-aroundOps); j < min(len(ops), i+aroundOps+1); j++ {
		mark := "  "
		if j == i {
			mark = "> "
		}
		lines = append(lines, mark+ops[j].String())
	}
	return lines
}

// counted is "1 operation" or "2 operations".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
