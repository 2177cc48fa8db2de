// Package linear decides whether what clients saw of one register, such as a key of an object store, could have come from a
// register that executes one operation at a time, each between its begin and its end: whether the history is linearizable.
//
// It must not know what the values mean, nor how the operations were made.
//
// The search is that of Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), which
// remembers the configurations that it has seen, as Lowe, "Testing for linearizability" (2017).
package linear

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is what an operation does.
type Kind uint8

const (
	Read  Kind = iota // finds Value
	Write             // makes it Value
	Swap              // makes it Value if it is Expect
)

// Absent is the value of a register before the first write. A write of it is a delete.
const Absent uint64 = 0

// Op is an operation as its client saw it.
type Op struct {
	Kind       Kind
	Value      uint64
	Expect     uint64 // of a Swap
	Refused    bool   // a Swap that found something else
	Lost       bool   // no answer came: it was executed at any time after Begin, or never; of no meaning with a Read
	Begin, End time.Duration
	Client     string // for the report
}

func (o Op) String() string {
	var what string
	switch o.Kind {
	case Read:
		what = fmt.Sprintf("read %d", o.Value)
	case Write:
		what = fmt.Sprintf("write %d", o.Value)
	case Swap:
		what = fmt.Sprintf("swap %d for %d", o.Expect, o.Value)
	}
	end := o.End.String()
	if o.Lost {
		end = "unknown"
	}
	if o.Refused {
		what += ", refused"
	}
	return fmt.Sprintf("[%v, %s] %s: %s", o.Begin, end, o.Client, what)
}

// execute returns what the register is after o, and whether o is possible where it was value.
func (o *Op) execute(value uint64) (next uint64, possible bool) {
	switch {
	case o.Kind == Read:
		return value, value == o.Value
	case o.Kind == Write:
		return o.Value, true
	case o.Refused:
		return value, value != o.Expect
	case o.Lost && value != o.Expect: // then it was refused
		return value, true
	}
	return o.Value, value == o.Expect
}

// Check returns nil if the history is linearizable, else an error that shows the operations around the first that cannot be
// explained. It may sort ops.
func Check(ops []Op) error {
	ops = slices.DeleteFunc(ops, func(o Op) bool { return o.Kind == Read && o.Lost })
	slices.SortStableFunc(ops, func(a, b Op) int { return cmp.Compare(a.Begin, b.Begin) })
	s := &search{seen: map[string]bool{}}
	for _, o := range ops {
		if o.Lost {
			s.lost = append(s.lost, o)
		} else {
			s.sure = append(s.sure, o)
		}
	}
	s.done, s.used = make([]byte, len(s.sure)), make([]byte, len(s.lost))
	if s.run(0, Absent) {
		return nil
	}
	return s.failure()
}

// search is a walk through all orders that the times allow.
type search struct {
	sure, lost []Op // by Begin
	done, used []byte
	seen       map[string]bool
	furthest   int
}

// run explains what is left, where the first so many of sure are explained and the register is value.
func (s *search) run(first int, value uint64) bool {
	for first < len(s.sure) && s.done[first] == 1 {
		first++
	}
	s.furthest = max(s.furthest, first)
	if first == len(s.sure) {
		return true
	}
	if key := s.key(first, value); s.seen[key] {
		return false
	} else {
		s.seen[key] = true
	}
	bound := s.sure[first].End // whatever comes next began before that
	for i := first; i < len(s.sure) && s.sure[i].Begin <= bound; i++ {
		if s.done[i] == 0 {
			bound = min(bound, s.sure[i].End)
		}
	}
	return s.try(s.sure[first:], s.done[first:], first, bound, value) || s.try(s.lost, s.used, first, bound, value)
}

// try lets each of ops be the next.
func (s *search) try(ops []Op, marks []byte, first int, bound time.Duration, value uint64) bool {
	for i := range ops {
		if ops[i].Begin > bound {
			break
		}
		next, possible := ops[i].execute(value)
		if marks[i] == 1 || !possible || ops[i].Lost && next == value {
			continue
		}
		marks[i] = 1
		if s.run(first, next) {
			return true
		}
		marks[i] = 0
	}
	return false
}

// key names a configuration.
func (s *search) key(first int, value uint64) string {
	key := binary.LittleEndian.AppendUint64(nil, value)
	key = binary.LittleEndian.AppendUint32(key, uint32(first))
	last := first
	for i := first; i < len(s.done) && s.sure[i].Begin <= s.sure[first].End; i++ {
		last = i + 1
	}
	key = append(key, s.done[first:last]...)
	key = append(key, 0xff)
	return string(append(key, s.used...))
}

func (s *search) failure() error {
	var text strings.Builder
	for i := max(0, s.furthest-8); i < min(len(s.sure), s.furthest+8); i++ {
		mark := "  "
		if i == s.furthest {
			mark = "> "
		}
		fmt.Fprintf(&text, "%s%v\n", mark, s.sure[i])
	}
	for _, o := range s.lost {
		if o.Begin <= s.sure[s.furthest].End {
			fmt.Fprintf(&text, "  %v\n", o)
		}
	}
	return fmt.Errorf("not linearizable: %d of %d operations can be explained\n%s", s.furthest, len(s.sure), text.String())
}
