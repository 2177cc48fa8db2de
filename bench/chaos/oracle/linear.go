package oracle

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"kintsugi/bench/chaos/history"
)

// keyTimeout bounds the search for an order of one key's operations.
const keyTimeout = 10 * time.Second

// Linear is oracle O2: for every key there is an order of its operations, each at some moment while it was under way, in
// which every one found what the ones before had left.
func Linear(s history.Snapshot) Verdict {
	keys := s.ByKey()
	var mu sync.Mutex // guards failures and undecided
	var failures []Failure
	undecided, checked := 0, 0
	work := make(chan []history.Op)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for ops := range work {
				decision, culprit := linearize(ops)
				if decision == porcupine.Ok {
					continue
				}
				mu.Lock()
				if decision == porcupine.Unknown {
					undecided++
				} else {
					failures = append(failures, failure("no order explains what was read", culprit,
						"this is the first operation that no order of those before it can explain", ops))
				}
				mu.Unlock()
			}
		})
	}
	for _, ops := range keys {
		checked += len(ops)
		work <- ops
	}
	close(work)
	workers.Wait()
	v := judge("O2", "linearizable", fmt.Sprintf("%s on %s can be put in order", counted(checked, "operation"), counted(len(keys), "key")), failures)
	if v.Status == Passed && undecided > 0 {
		v.Status, v.Summary = Undecided, fmt.Sprintf("the search took too long for %s of %d", counted(undecided, "key"), len(keys))
	}
	return v
}

// register is the model: one value, the version, that is absent at first.
var register = porcupine.Model{
	Init: func() any { return history.NoVersion },
	Step: func(state, input, _ any) (bool, any) {
		ok, next := step(state.(uint32), input.(*history.Op))
		return ok, next
	},
	Hash: func(state any) uint64 { return uint64(state.(uint32)) },
}

// step executes an operation on a register with this version. It returns false if the operation cannot have ended as it did.
func step(now uint32, o *history.Op) (bool, uint32) {
	if o.Kind.Reads() {
		return now == o.Version, now // which is NoVersion if it found none
	}
	holds := true
	switch o.Kind {
	case history.PutIfAbsent:
		holds = now == history.NoVersion
	case history.PutIfMatch:
		holds = now == o.Expect
	}
	switch {
	case o.Outcome == history.OK:
		return holds, result(o)
	case o.Outcome == history.Absent:
		return now == history.NoVersion && (o.Kind == history.PutIfMatch || o.Kind == history.Delete), now
	case o.Outcome == history.Refused:
		return !holds, now
	case holds: // doubtful: it happens here
		return true, result(o)
	}
	return true, now
}

// linearize searches for an order. If there is none, culprit is the first operation that cannot be explained.
func linearize(ops []history.Op) (decision porcupine.CheckResult, culprit history.Op) {
	calls := operations(ops)
	if decision = porcupine.CheckOperationsTimeout(register, calls, keyTimeout); decision != porcupine.Illegal {
		return decision, culprit
	}
	_, info := porcupine.CheckOperationsVerbose(register, calls, keyTimeout)
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	explained := map[*history.Op]bool{}
	for _, o := range longest {
		explained[o.Input.(*history.Op)] = true
	}
	slices.SortFunc(calls, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	for _, o := range calls {
		if op := o.Input.(*history.Op); !explained[op] {
			return decision, *op
		}
	}
	return decision, ops[0]
}

// operations are those that tell something. A doubtful write may happen at any time after it began, or never. To leave all of them open until
// the end would make the search endless, and need not be: one whose version was found had happened by then;
// one whose version nobody found changed nothing that anybody saw, unless a condition was refused because of it, or
// one that has no answer either took its place.
func operations(ops []history.Op) []porcupine.Operation {
	found := map[uint32]time.Duration{}
	replaced := map[uint32]bool{} // perhaps
	refused := time.Duration(-1)
	for i := range ops {
		o := &ops[i]
		version := history.NoVersion
		switch {
		case o.Kind.Reads() && o.Outcome == history.OK:
			version = o.Version
		case o.Kind == history.PutIfMatch && o.Outcome == history.OK:
			version = o.Expect
		case o.Kind == history.PutIfMatch && o.Doubtful():
			replaced[o.Expect] = true
		case o.Kind.Conditional() && o.Outcome == history.Refused:
			refused = max(refused, o.End)
		}
		if at, known := found[version]; version != history.NoVersion && (!known || o.End < at) {
			found[version] = o.End
		}
	}
	var calls []porcupine.Operation
	for i := range ops {
		o := &ops[i]
		call := porcupine.Operation{ClientId: int(o.Client), Input: o, Call: int64(o.Begin), Return: int64(o.End)}
		switch {
		case o.Outcome == history.Conflict || !o.Outcome.Answered() && !o.Doubtful():
			continue // it tells nothing
		case o.Doubtful():
			at, known := found[result(o)]
			if o.Kind != history.Delete && !known && !replaced[o.Version] && refused < o.Begin {
				continue
			}
			call.Return = math.MaxInt64
			if known && o.Kind != history.Delete {
				call.Return = int64(max(at, o.Begin))
			}
		}
		calls = append(calls, call)
	}
	return calls
}
