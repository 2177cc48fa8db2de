package oracle

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"kintsugi/bench/chaos/history"
)

// parseOps reads operations of one key, one a line: "0-10 put 1", "5-? put 2" (no answer), "3-4 get 0" (absent), "1-2 match 1>2",
// "1-2 match 1>2 refused", "1-2 none 3 refused", "1-2 delete".
func parseOps(t *testing.T, text string) (ops []history.Op) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(text)) {
		words := strings.Fields(line)
		o := history.Op{Client: uint16(len(ops))}
		begin, until, _ := strings.Cut(words[0], "-")
		o.Begin = moment(t, begin)
		if until == "?" {
			o.Outcome, o.End = history.Timeout, o.Begin+2
		} else {
			o.End = moment(t, until)
		}
		if words[len(words)-1] == "refused" {
			o.Outcome = history.Refused
		}
		if len(words) > 2 {
			if _, err := fmt.Sscanf(words[2], "%d>%d", &o.Expect, &o.Version); err != nil {
				o.Expect = 0
				if _, err := fmt.Sscanf(words[2], "%d", &o.Version); err != nil {
					t.Fatal(line, err)
				}
			}
		}
		kinds := map[string]history.Kind{"get": history.Get, "put": history.Put, "delete": history.Delete, "none": history.PutIfAbsent, "match": history.PutIfMatch}
		kind, known := kinds[words[1]]
		if o.Kind = kind; !known {
			t.Fatal(line)
		}
		if o.Kind == history.Get && o.Version == 0 {
			o.Outcome = history.Absent
		}
		ops = append(ops, o)
	}
	return ops
}

func moment(t *testing.T, text string) time.Duration {
	t.Helper()
	var n int64
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(text, err)
	}
	return time.Duration(n)
}

func TestLinear(t *testing.T) {
	for _, c := range []struct {
		name, ops string
		culprit   string // begin-end of the operation; "": there is an order
	}{
		{"one after the other", "0-1 put 1\n2-3 get 1\n4-5 put 2\n6-7 get 2\n8-9 delete\n10-11 get 0", ""},
		{"stale", "0-1 put 1\n2-3 put 2\n4-5 get 1", "4-5"},
		{"absent at first", "0-1 get 0\n2-3 put 1\n4-5 get 0", "4-5"},
		{"both while it is written", "0-1 put 1\n2-9 put 2\n3-4 get 1\n5-6 get 2", ""},
		{"back and forth", "0-1 put 1\n2-9 put 2\n3-4 get 2\n5-6 get 1", "5-6"},
		{"no answer, seen", "0-1 put 1\n2-? put 2\n3-4 get 1\n20-21 get 2\n22-23 get 2", ""},
		{"no answer, seen and gone", "0-1 put 1\n2-? put 2\n20-21 get 2\n22-23 get 1", "22-23"},
		{"no answer, never seen", "0-1 put 1\n2-? put 2\n20-21 get 1", ""},
		{"no answer, late", "0-1 put 1\n2-? put 2\n3-4 put 3\n5-6 get 3\n7-8 get 2", ""},
		{"delete without answer", "0-1 put 1\n2-? delete\n20-21 get 1\n22-23 get 0\n24-25 put 2\n26-27 get 2", ""},
		{"undead", "0-1 put 1\n2-3 delete\n4-5 get 1", "4-5"},
		{"if absent", "0-1 none 1\n2-3 none 2 refused\n4-5 get 1", ""},
		{"if absent, though it is there", "0-1 put 1\n2-3 none 2", "2-3"},
		{"refused, though it is absent", "0-1 none 1 refused", "0-1"},
		{"refused because of one without answer", "0-? put 1\n5-6 none 2 refused", ""},
		{"two win", "0-1 put 1\n2-9 match 1>2\n3-8 match 1>3\n10-11 get 2", "2-9"},
		{"one wins", "0-1 put 1\n2-9 match 1>2\n3-8 match 1>3 refused\n10-11 get 2", ""},
		{"match of one without answer", "0-? put 1\n5-? match 1>2\n20-21 get 2", ""},
		{"match without answer that won", "0-1 put 1\n2-? match 1>2\n20-21 get 2", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ops := parseOps(t, c.ops)
			decision, culprit := linearize(ops)
			got := ""
			if decision != porcupine.Ok {
				got = fmt.Sprintf("%d-%d", culprit.Begin, culprit.End)
			}
			if (got == "") != (c.culprit == "") || c.name != "two win" && got != c.culprit {
				t.Errorf("got %q (%s), want %q", got, decision, c.culprit)
			}
		})
	}
}

// ofRegister makes what n clients see of a register that executes one operation at a time; a tenth of the answers get lost.
func ofRegister(r *rand.Rand, n, count int) []history.Op {
	var ops []history.Op
	now, free := history.NoVersion, make([]time.Duration, n)
	for i := range count {
		at := time.Duration(i+1) * 100 // of execution
		c := slices.Index(free, slices.Min(free))
		o := history.Op{Client: uint16(c), Kind: history.Get, Begin: max(free[c]+1, at-time.Duration(r.IntN(100*n)))}
		o.End = max(at, o.Begin) + time.Duration(r.IntN(100*n))
		if o.Begin > at {
			continue
		}
		free[c] = o.End
		switch version := uint32(i + 1); r.IntN(6) {
		case 0:
			o.Kind = history.Delete
		case 1:
			o.Kind, o.Version = history.Put, version
		case 2:
			o.Kind, o.Version = history.PutIfAbsent, version
		case 3:
			o.Kind, o.Version, o.Expect = history.PutIfMatch, version, max(now, 1)-uint32(r.IntN(2))
		}
		switch happens, next := execute(now, &o); {
		case o.Kind == history.Get:
			o.Version = now
		case !happens:
			o.Outcome = history.Refused
		default:
			now = next
		}
		if r.IntN(10) == 0 {
			o.Outcome = history.Timeout
		}
		ops = append(ops, o)
	}
	return ops
}

// execute tells whether the register takes a write, and what it is then.
func execute(now uint32, o *history.Op) (bool, uint32) {
	switch o.Kind {
	case history.PutIfAbsent:
		return now == history.NoVersion, o.Version
	case history.PutIfMatch:
		return now == o.Expect, o.Version
	}
	return true, result(o)
}

// TestOfRegister accepts what clients saw of real registers, and refuses it when one read is changed.
func TestOfRegister(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		ops := ofRegister(r, 1+r.IntN(6), 60)
		if decision, culprit := linearize(ops); decision != porcupine.Ok {
			t.Fatalf("seed %d: %s because of %v", seed, decision, culprit)
		}
		i := slices.IndexFunc(ops, func(o history.Op) bool { return o.Kind == history.Get && o.Outcome == history.OK })
		if i < 0 {
			continue
		}
		ops[i].Version = 5_000_000
		if decision, _ := linearize(ops); decision != porcupine.Illegal {
			t.Fatalf("seed %d: a wrong read of %v: %s", seed, ops[i], decision)
		}
	}
}

func TestReplaced(t *testing.T) {
	for _, c := range []struct {
		name, ops string
		version   uint32 // that is read at 100-101
		proof     string // begin-end of the write that proves that it cannot be
	}{
		{"there", "0-1 put 1", 1, ""},
		{"replaced", "0-1 put 1\n2-3 put 2", 1, "2-3"},
		{"at the same time", "0-3 put 1\n2-4 put 2", 1, ""},
		{"gone", "0-1 put 1", 0, "0-1"},
		{"deleted", "0-1 put 1\n2-3 delete", 0, ""},
		{"deleted before", "0-1 put 1\n2-3 delete\n4-5 put 2", 0, "4-5"},
		{"undead", "0-1 put 1\n2-3 delete", 1, "2-3"},
		{"perhaps deleted", "0-1 put 1\n2-? delete\n4-5 put 2", 0, ""},
		{"perhaps written late", "0-? put 1\n2-3 put 2", 1, ""},
		{"perhaps replaced", "0-1 put 1\n2-? put 2", 1, ""},
		{"deleted at the same time", "0-1 put 1\n99-102 delete", 0, ""},
		{"deleted meanwhile", "0-1 put 1\n101-102 delete", 0, ""},
		{"deleted later", "0-1 put 1\n102-103 delete", 0, "0-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			read := history.Op{Begin: 100, End: 101, Version: c.version}
			got := ""
			if w := newFacts(parseOps(t, c.ops)).replaced(c.version, &read); w != nil {
				got = fmt.Sprintf("%d-%d", w.Begin, w.End)
			}
			if got != c.proof {
				t.Errorf("got %q, want %q", got, c.proof)
			}
		})
	}
}

func TestListed(t *testing.T) {
	for _, c := range []struct {
		name, ops string
		found     bool
		wrong     bool
	}{
		{"there", "0-1 put 1", true, false},
		{"unlisted", "0-1 put 1", false, true},
		{"not yet written", "102-103 put 1", true, true},
		{"being written", "99-103 put 1", true, false},
		{"being written, unlisted", "99-103 put 1", false, false},
		{"deleted", "0-1 put 1\n2-3 delete", true, true},
		{"deleted, unlisted", "0-1 put 1\n2-3 delete", false, false},
		{"being deleted", "0-1 put 1\n90-105 delete", true, false},
		{"being deleted, unlisted", "0-1 put 1\n90-105 delete", false, false},
		{"perhaps deleted", "0-1 put 1\n2-? delete", false, false},
		{"written again", "0-1 put 1\n2-3 delete\n4-5 put 2", false, true},
		{"perhaps written again", "0-1 put 1\n2-3 delete\n4-? put 2", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := history.Listing{Begin: 100, End: 101, Found: map[int32]history.Listed{}}
			if c.found {
				l.Found[0] = history.Listed{}
			}
			got := listed(&l, map[int32]*facts{0: newFacts(parseOps(t, c.ops))})
			if (len(got) > 0) != c.wrong {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestServed(t *testing.T) {
	window := []Window{{Begin: 10, End: 20, Tolerance: HonestOnly}}
	for _, c := range []struct {
		name    string
		op      history.Op
		windows []Window
		want    Status
	}{
		{"ok", history.Op{Begin: 1, End: 2}, nil, Passed},
		{"refused condition", history.Op{Begin: 1, End: 2, Outcome: history.Refused}, nil, Passed},
		{"503", history.Op{Begin: 1, End: 2, Outcome: history.Unavailable}, window, Failed},
		{"503 in the window", history.Op{Begin: 5, End: 10, Outcome: history.Unavailable}, window, Passed},
		{"time-out in the window", history.Op{Begin: 12, End: 13, Outcome: history.Timeout}, window, Failed},
		{"time-out where all is allowed", history.Op{Begin: 12, End: 13, Outcome: history.Timeout}, []Window{{Begin: 0, End: 20, Tolerance: Any}}, Passed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if v := Served(history.Snapshot{Ops: []history.Op{c.op}}, c.windows); v.Status != c.want {
				t.Errorf("got %+v", v)
			}
		})
	}
}

func BenchmarkLinear(b *testing.B) {
	var ops []history.Op
	for i := range 600 {
		o := history.Op{Begin: time.Duration(10 * i), End: time.Duration(10*i + 25), Kind: history.Put, Version: uint32(i + 1)}
		if i%3 > 0 {
			o.Kind, o.Version = history.Get, uint32(i/3*3+1)
		}
		ops = append(ops, o)
	}
	for b.Loop() {
		linearize(ops)
	}
}
