package linear

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	read := func(from, to time.Duration, v uint64) Op { return Op{Begin: from, End: to, Value: v} }
	write := func(from, to time.Duration, v uint64) Op { return Op{Kind: Write, Begin: from, End: to, Value: v} }
	lost := func(from time.Duration, v uint64) Op { return Op{Kind: Write, Begin: from, Value: v, Lost: true} }
	swap := func(from, to time.Duration, old, v uint64, refused bool) Op {
		return Op{Kind: Swap, Begin: from, End: to, Value: v, Expect: old, Refused: refused}
	}
	tests := []struct {
		name string
		ops  []Op
		ok   bool
	}{
		{"nothing", nil, true},
		{"absent at first", []Op{read(1, 2, Absent)}, true},
		{"in order", []Op{write(1, 2, 1), read(3, 4, 1), write(5, 6, 2), read(7, 8, 2)}, true},
		{"stale read", []Op{write(1, 2, 1), write(3, 4, 2), read(5, 6, 1)}, false},
		{"lost write", []Op{write(1, 2, 1), read(3, 4, Absent)}, false},
		{"read of nobody's write", []Op{read(1, 2, 7)}, false},
		{"read from the future", []Op{read(1, 2, 1), write(3, 4, 1)}, false},
		{"either during a write", []Op{write(1, 2, 1), write(3, 9, 2), read(4, 5, 1), read(6, 7, 2)}, true},
		{"back and forth during a write", []Op{write(1, 2, 1), write(3, 9, 2), read(4, 5, 2), read(6, 7, 1)}, false},
		{"two writes at once, either last", []Op{write(1, 9, 1), write(1, 9, 2), read(10, 11, 1)}, true},
		{"two writes at once, both last", []Op{write(1, 9, 1), write(1, 9, 2), read(10, 11, 1), read(12, 13, 2)}, false},
		{"lost and executed late", []Op{lost(1, 1), read(2, 3, Absent), read(5, 6, 1)}, true},
		{"lost and never executed", []Op{lost(1, 1), read(2, 3, Absent), read(5, 6, Absent)}, true},
		{"lost and undone", []Op{lost(1, 1), read(2, 3, 1), read(5, 6, Absent)}, false},
		{"deleted", []Op{write(1, 2, 1), write(3, 4, Absent), read(5, 6, Absent)}, true},
		{"risen from the dead", []Op{write(1, 2, 1), write(3, 4, Absent), read(5, 6, 1)}, false},
		{"swap", []Op{swap(1, 2, Absent, 1, false), swap(3, 4, 1, 2, false), read(5, 6, 2)}, true},
		{"two swaps win", []Op{swap(1, 3, Absent, 1, false), swap(1, 3, Absent, 2, false)}, false},
		{"refused by itself", []Op{swap(1, 2, Absent, 1, true)}, false},
		{"refused by another", []Op{swap(1, 4, Absent, 1, false), swap(1, 4, Absent, 2, true)}, true},
		{"refused by what was lost", []Op{lost(1, 9), swap(2, 3, Absent, 1, true), read(4, 5, 9)}, true},
		{"lost swap", []Op{write(1, 2, 1), {Kind: Swap, Begin: 3, Lost: true, Expect: 1, Value: 2}, read(5, 6, 2)}, true},
		{"lost swap of something else", []Op{write(1, 2, 1), {Kind: Swap, Begin: 3, Lost: true, Expect: 7, Value: 2}, read(5, 6, 2)}, false},
		{"lost read", []Op{{Begin: 1, Lost: true, Value: 5}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Check(tt.ops); (err == nil) != tt.ok {
				t.Errorf("got %v, want ok %v", err, tt.ok)
			}
		})
	}
}

// history makes what n clients see of a register that executes one operation at a time; a tenth of the answers get lost.
func history(r *rand.Rand, clients, ops int) []Op {
	var all []Op
	value := Absent
	free := make([]time.Duration, clients)
	for i := range ops {
		at := time.Duration(i+1) * 100 // of execution
		c := slices.Index(free, slices.Min(free))
		o := Op{Kind: Kind(r.IntN(3)), Value: uint64(i + 1), Client: fmt.Sprint(c)}
		o.Begin = max(free[c]+1, at-time.Duration(r.IntN(100*clients)))
		o.End = max(at, o.Begin) + time.Duration(r.IntN(100*clients))
		if o.Begin > at {
			continue
		}
		free[c] = o.End
		switch o.Kind {
		case Read:
			o.Value = value
		case Write:
			if r.IntN(4) == 0 {
				o.Value = Absent
			}
		case Swap:
			o.Expect = value
			if r.IntN(2) == 0 {
				o.Expect, o.Refused = uint64(i+1000000), true
			}
		}
		value, _ = o.execute(value)
		if r.IntN(10) == 0 {
			o.Lost, o.Refused = true, false
		}
		all = append(all, o)
	}
	return all
}

// TestHistories accepts histories of real registers, and refuses them when one read is changed.
func TestHistories(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		ops := history(r, 1+r.IntN(6), 300)
		if err := Check(slices.Clone(ops)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i := range ops {
			if ops[i].Kind == Read && !ops[i].Lost {
				spoilt := slices.Clone(ops)
				spoilt[i].Value = 5000000
				if Check(spoilt) == nil {
					t.Fatalf("seed %d: a wrong read of %v was accepted", seed, ops[i])
				}
				break
			}
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	ops := history(rand.New(rand.NewPCG(1, 0)), 6, 1000)
	for b.Loop() {
		if err := Check(slices.Clone(ops)); err != nil {
			b.Fatal(err)
		}
	}
}
