package chaos

import (
	"slices"
	"testing"
	"time"

	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/scenario"
)

// What is left of a run is counted from the step that began last.
func TestRemaining(t *testing.T) {
	s, err := scenario.Parse([]byte(`
name: x
proves: y
steps:
  - {at: 10s, fault: kill, nodes: n1, for: 5s}
  - {at: healed+5s, fault: stop, nodes: n1, for: 2s, every: 4s, times: 3}
rest: 3s
`))
	if err != nil {
		t.Fatal(err)
	}
	begins, total := plan(s)
	if want := []time.Duration{10 * time.Second, 20*time.Second + healGuess}; !slices.Equal(begins, want) || total != 33*time.Second+2*healGuess {
		t.Fatalf("begins %v, in all %v", begins, total)
	}
	const second = time.Second
	for _, c := range []struct {
		name    string
		ago     time.Duration // when the last step began, or the run
		reached progress
		rounds  int
		want    time.Duration
	}{
		{"it begins", 0, progress{}, 1, total},
		{"before the first step", 4 * second, progress{}, 1, total - 4*second},
		{"the first is late", 60 * second, progress{}, 1, total - 10*second},
		{"in the first", 6 * second, progress{steps: 1}, 1, total - 16*second},
		{"it mends itself slowly", 90 * second, progress{steps: 1}, 1, total - begins[1]},
		{"in the last", 8 * second, progress{steps: 2}, 1, total - begins[1] - 8*second},
		{"at the end", 90 * second, progress{steps: 2}, 1, 0},
		{"in the first of two rounds", 6 * second, progress{steps: 1}, 2, 2*total - 16*second},
		{"in the second", 6 * second, progress{rounds: 1, steps: 1}, 2, total - 16*second},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := Config{Scenario: s, Duration: time.Duration(c.rounds-1)*total + 1}
			d := newDirector(config, nil, nil, history.NewLog(time.Now().Add(-c.ago)), nil)
			d.reached = c.reached
			if got := d.remaining(); got > c.want || got < c.want-second {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
