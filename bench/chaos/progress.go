package chaos

import (
	"time"

	"kintsugi/bench/chaos/scenario"
)

// progress is how far a run has come.
type progress struct {
	rounds, steps int           // rounds that are over; steps of this one that have begun
	when          time.Duration // the last step did
}

// reach notes how far the run has come.
func (d *director) reach(change func(*progress)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.reached)
}

// healGuess is how long mending takes, for a guess at how long a run will.
const healGuess = 20 * time.Second

// plan is a guess at when each step of a round begins, and at how long the round takes.
func plan(s scenario.Scenario) (begins []time.Duration, total time.Duration) {
	last := time.Duration(0)
	for _, step := range s.Steps {
		at := step.At.After
		switch step.At.Since {
		case scenario.Healed:
			at += total + healGuess
		case scenario.Rebuilt:
			at += last + healGuess
		case scenario.Then:
			at += last
		}
		begins = append(begins, at)
		last = at + time.Duration(step.Times-1)*step.Every
		total = max(total, last+step.For)
	}
	return begins, total + healGuess + s.Rest
}

// remaining is a guess. It counts from the step that began last: those before may have taken longer or shorter than was guessed.
func (d *director) remaining() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	begins, total := plan(d.config.Scenario)
	rounds := max(1, int((d.config.Duration+total-1)/total))
	begins = append(begins, total)
	done := min(d.log.Now()-d.began, begins[0])
	if at := d.reached; at.steps > 0 {
		done = min(begins[at.steps-1]+d.log.Now()-at.when, begins[at.steps])
	}
	return max(0, time.Duration(max(1, rounds-d.reached.rounds))*total-done)
}
