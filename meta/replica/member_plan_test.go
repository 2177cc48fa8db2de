package replica

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state"
)

func TestRecovery(t *testing.T) {
	failed := errors.New("write raft log: input/output error")
	unreadable := fmt.Errorf("%w: read table: %w", state.ErrDamaged, syscall.EIO)
	cases := []struct {
		name string
		r    recovery
		want step
	}{
		{"failed, others serve", recovery{cause: failed, elsewhere: true}, stepRenew},
		{"failed, needed", recovery{cause: failed, age: time.Hour}, stepReopen},
		{"differs, needed", recovery{cause: errDiverged}, stepReopen},
		{"in doubt, others serve", recovery{cause: raftgroup.ErrDoubtfulTail, elsewhere: true}, stepRenew},
		{"in doubt, others may come", recovery{cause: raftgroup.ErrDoubtfulTail, age: doubtWait - 1}, stepWait},
		{"in doubt, needed", recovery{cause: fmt.Errorf("open: %w", raftgroup.ErrDoubtfulTail), age: doubtWait}, stepCut},
		{"damaged, others serve", recovery{cause: raftgroup.ErrDamaged, elsewhere: true}, stepRenew},
		{"damaged, needed", recovery{cause: raftgroup.ErrDamaged, age: time.Hour}, stepWait},
		{"unreadable, others serve", recovery{cause: unreadable, elsewhere: true}, stepRenew},
		{"unreadable, needed", recovery{cause: unreadable}, stepReopen},
		{"log lost, needed", recovery{cause: errLogLost, age: time.Hour}, stepWait},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := c.r.next(); got != c.want {
				t.Errorf("next = %v, want %v", got, c.want)
			}
		})
	}
}

func TestNextTransfer(t *testing.T) {
	three := []uint64{1, 2, 3}
	cases := []struct {
		name    string
		leaders []uint64
		fit     []uint64 // for every group of host 1
		leaving bool
		group   int
		to      uint64 // 0: no transfer
	}{
		{name: "all on one", leaders: []uint64{1, 1, 1, 1}, fit: three, group: 3, to: 2},
		{name: "to the one with the least", leaders: []uint64{1, 1, 1, 2}, fit: three, group: 2, to: 3},
		{name: "even", leaders: []uint64{1, 2, 3}, fit: three},
		{name: "as even as can be", leaders: []uint64{1, 1, 2, 3}, fit: three},
		{name: "nobody is fit", leaders: []uint64{1, 1, 1}},
		{name: "only self is fit", leaders: []uint64{1, 1, 1}, fit: []uint64{1}},
		{name: "an election is under way", leaders: []uint64{1, 1, 1, 0}, fit: three},
		{name: "others have too many", leaders: []uint64{2, 2, 2, 1}, fit: three},
		{name: "leaving", leaders: []uint64{1, 2, 3}, fit: three, leaving: true, to: 2},
		{name: "leaving, the last one", leaders: []uint64{2, 2, 1}, fit: three, leaving: true, group: 2, to: 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := leadership{self: 1, leaders: c.leaders, leaving: c.leaving}
			for range c.leaders {
				l.fit = append(l.fit, c.fit)
			}
			group, to, ok := nextTransfer(l)
			if ok != (c.to != 0) || ok && (group != c.group || to != c.to) {
				t.Errorf("nextTransfer = group %d to %d, %v; want group %d to %d", group, to, ok, c.group, c.to)
			}
		})
	}
}

// From any state the transfers come to an end, where no two hosts differ by more than one group.
func TestTransfersEnd(t *testing.T) {
	hosts := []uint64{1, 2, 3, 4, 5}
	for start := range 5 * 5 * 5 {
		leaders := make([]uint64, 8)
		fit := make([][]uint64, 8)
		for g := range leaders {
			leaders[g], fit[g] = hosts[start/(1+4*(g%3))%5], hosts
		}
		moves := 0
		for again := true; again; {
			again = false
			for _, self := range hosts {
				if group, to, ok := nextTransfer(leadership{self: self, leaders: leaders, fit: fit}); ok {
					leaders[group], again = to, true
					moves++
				}
			}
			if moves > 8 {
				t.Fatalf("%d transfers from start %d", moves, start)
			}
		}
		var count [6]int
		for _, id := range leaders {
			count[id]++
		}
		if slices.Max(count[1:])-slices.Min(count[1:]) > 1 {
			t.Errorf("start %d ends with %v", start, count[1:])
		}
	}
}

func TestMajorityOf(t *testing.T) {
	voters := []uint64{1, 2, 3}
	cases := []struct {
		name string
		sums map[uint64]uint64
		want uint64 // 0: none
	}{
		{"all equal", map[uint64]uint64{1: 7, 2: 7, 3: 7}, 7},
		{"one differs", map[uint64]uint64{1: 7, 2: 8, 3: 7}, 7},
		{"one is not known", map[uint64]uint64{1: 7, 3: 7}, 7},
		{"one against one", map[uint64]uint64{1: 7, 3: 8}, 0},
		{"learners do not count", map[uint64]uint64{1: 7, 4: 8, 5: 8}, 0},
		{"alone", map[uint64]uint64{1: 7}, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, ok := majorityOf(c.sums, voters)
			if got != c.want || ok != (c.want != 0) {
				t.Errorf("majorityOf = %d, %v; want %d", got, ok, c.want)
			}
		})
	}
}

func TestShrinkHelps(t *testing.T) {
	for _, c := range []struct {
		voters, dead int
		want         bool
	}{{3, 0, false}, {3, 1, false}, {5, 1, false}, {5, 2, true}, {4, 1, true}, {2, 1, true}} {
		if got := shrinkHelps(c.voters, c.dead); got != c.want {
			t.Errorf("shrinkHelps(%d, %d) = %v, want %v", c.voters, c.dead, got, c.want)
		}
	}
}

func TestEnoughRoom(t *testing.T) {
	room := func(ids ...uint64) map[uint64]report {
		m := map[uint64]report{2: {}, 3: {}}
		for _, id := range ids {
			m[id] = report{Room: true}
		}
		return m
	}
	for _, c := range []struct {
		name    string
		own     bool
		reports map[uint64]report
		want    bool
	}{
		{"all", true, room(2, 3), true},
		{"two of three", true, room(2), true},
		{"one of three", true, room(), false},
		{"others", false, room(2, 3), true},
		{"nobody else told", true, nil, true},
		{"nobody else told, and none here", false, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := enoughRoom([]uint64{1, 2, 3}, 1, c.own, c.reports); got != c.want {
				t.Errorf("enoughRoom = %v", got)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	for _, k := range []questionKind{askReport, askConfirm, askDigest} {
		p, err := encode(question{Format: questionFormat, Kind: k, Host: 5, Majority: new(uint64(1))})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	m := &Member{}
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, err := m.answer(t.Context(), p); err != nil && !errors.Is(err, errFormat) {
			t.Error(err)
		}
	})
}
