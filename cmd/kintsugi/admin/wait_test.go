package admin

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// scripted answers one status after the other, the last for ever.
type scripted struct {
	statuses []Status
	errs     []error
	asked    int
}

func (s *scripted) Status(context.Context, bool) (Status, error) {
	i := min(s.asked, len(s.statuses)-1)
	s.asked++
	if i < len(s.errs) {
		return s.statuses[i], s.errs[i]
	}
	return s.statuses[i], nil
}

func draining(slots ...int) []Status {
	var all []Status
	for _, n := range slots {
		all = append(all, Status{
			Epoch: 5, Moving: n, Drives: []Drive{{ID: "030303030303", Node: "n3", Leaving: n, Live: true}, {ID: "04", Node: "n4", Slots: 99, Live: true, Scrubbed: 1}},
			Repair: Repair{PendingShards: n}, Nodes: []Node{{Name: "n3", Up: true, Orders: 7}, {Name: "n4"}},
		})
	}
	return all
}

func TestWait(t *testing.T) {
	for _, c := range []struct {
		name   string
		script scripted
		goal   Goal
		want   []string
		asked  int
	}{
		{"drain of a node", scripted{statuses: draining(40, 30, 20, 10, 0)}, GoalOf(Plan{Change: Change{Kind: Drain, Target: "n3"}}),
			[]string{"drain n3: 40 slots left (0 %)", "drain n3: complete after 5 s"}, 6},
		{"drain of a drive", scripted{statuses: draining(40, 0)}, GoalOf(Plan{Change: Change{Kind: Drain, Target: "030303"}}), []string{"complete after 2 s"}, 3},
		{"nothing to do", scripted{statuses: draining(0)}, GoalOf(Plan{Change: Change{Kind: Weight, Target: "n3"}}), []string{"complete after 1 s"}, 2},
		{"weight", scripted{statuses: draining(12, 3, 0)}, GoalOf(Plan{Change: Change{Kind: Weight, Target: "n3"}}), []string{"12 partitions left", "complete"}, 4},
		{"one that looks done first", scripted{statuses: draining(0, 9, 0)}, GoalOf(Plan{Change: Change{Kind: Undrain}}), []string{"complete after 3 s"}, 4},
		{"coordinator changes", scripted{statuses: draining(5, 5, 0), errs: []error{nil, ErrUnavailable}}, GoalOf(Plan{Change: Change{Kind: Drain, Target: "n3"}}), []string{"complete after 3 s"}, 4},
		{"rebuild", scripted{statuses: draining(12, 0)}, RebuildGoal(Order{Serial: 7}), []string{"24 shard or partitions left", "complete"}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				if _, err := Wait(t.Context(), &c.script, c.goal, &out, false); err != nil {
					t.Fatal(err)
				}
				for _, want := range c.want {
					if !strings.Contains(out.String(), want) {
						t.Errorf("no %q in\n%s", want, &out)
					}
				}
				if c.script.asked != c.asked {
					t.Errorf("asked %d times, want %d", c.script.asked, c.asked)
				}
			})
		})
	}
}

// TestWaitForMap expects a goal not to be reached before the map that was made is known.
func TestWaitForMap(t *testing.T) {
	for epoch, want := range map[uint64]int{4: 0, 5: 1} {
		if got, _ := GoalOf(Plan{Epoch: epoch, Change: Change{Kind: Weight, Target: "n3"}}).left(draining(0)[0]); got != want {
			t.Errorf("a change of epoch %d: %d left, want %d", epoch, got, want)
		}
	}
}

// TestWaitForOrders expects a goal not to be reached by nodes that have not heard of it.
func TestWaitForOrders(t *testing.T) {
	for _, c := range []struct {
		name string
		goal Goal
		want int
	}{
		{"old order", RebuildGoal(Order{Serial: 7}), 0},
		{"new order", RebuildGoal(Order{Serial: 8}), 1},
		{"scrub", ScrubGoal(Order{ScrubSerial: 1}), 1},
		{"next scrub", ScrubGoal(Order{ScrubSerial: 2}), 2},
	} {
		if got, _ := c.goal.left(draining(0)[0]); got != c.want {
			t.Errorf("%s: %d left, want %d", c.name, got, c.want)
		}
	}
}

func TestWaitInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		var out bytes.Buffer
		_, err := Wait(ctx, &scripted{statuses: draining(5)}, GoalOf(Plan{Change: Change{Kind: Drain, Target: "n3"}}), &out, true)
		if !errors.Is(err, ErrStuck) || !strings.Contains(err.Error(), "kintsugi admin status --watch") {
			t.Errorf("got %v", err)
		}
	})
}

func TestProgress(t *testing.T) {
	p := progress{begun: now}
	for _, c := range []struct {
		after time.Duration
		left  int
		want  string
	}{
		{0, 100, "100 slots left (0 %), 2.0 KiB/s"},
		{10 * time.Second, 120, "120 slots left (0 %), 2.0 KiB/s"}, // it found out more
		{20 * time.Second, 90, "90 slots left (25 %), 2.0 KiB/s, about 30 s"},
		{50 * time.Second, 0, "complete after 50 s"},
	} {
		if got := p.step(now.Add(c.after), c.left, "slot", 2048); got != c.want {
			t.Errorf("after %s: %q, want %q", c.after, got, c.want)
		}
	}
}
