package oracle

import (
	"fmt"

	"kintsugi/bench/chaos/history"
)

// Honest is oracle O4: what cannot be answered is refused or cut short, never answered falsely: no 404 for what exists, no
// complete answer that lacks bytes, no length or ETag that is not that of the object.
func Honest(s history.Snapshot) Verdict {
	failures := lies(s, history.WrongAnswer, "a false answer")
	for _, ops := range s.ByKey() {
		f := newFacts(ops)
		for _, o := range ops {
			if o.Kind.Reads() && o.Outcome == history.Absent && !o.Final {
				if w := f.replaced(history.NoVersion, &o); w != nil {
					failures = append(failures, failure("404 for an object that exists", o,
						fmt.Sprintf("version %d was acknowledged at %.3fs, and no delete began since", w.Version, w.End.Seconds()), ops))
				}
			}
			if o.Outcome == history.Rejected {
				failures = append(failures, failure(fmt.Sprintf("a right request was answered with %d", o.Status), o, message(s, o), ops))
			}
		}
	}
	for _, o := range s.Ops {
		if o.Key < 0 && o.Outcome == history.Rejected {
			failures = append(failures, failure(fmt.Sprintf("a right request was answered with %d", o.Status), o, message(s, o), nil))
		}
	}
	failed := 0
	for i := range s.Ops {
		if s.Ops[i].Outcome.Failed() && !s.Ops[i].Odd {
			failed++
		}
	}
	return judge("O4", "no lie", fmt.Sprintf("%s were refused or cut short, none was answered falsely", counted(failed, "request")), failures)
}

// message is the text of the error that an operation ended with, if it was kept.
func message(s history.Snapshot, o history.Op) string {
	for _, m := range s.Messages {
		if m.Op == o {
			return m.Text
		}
	}
	return ""
}
