package blob

import "time"

// tally decides, purely, what became of the shards of a chunk that are on their way.
type tally struct {
	slots   []slot
	need    int // durable shards that make the chunk good
	k       int
	durable int
	kth     time.Duration // after which the k-th shard was durable; 0: not yet
}

// slot is a shard, of which more than one put may be under way.
type slot struct {
	durable bool
	fresh   int // puts that still have time
	late    int // puts that have not answered in theirs
}

type outcome uint8

const (
	waiting outcome = iota
	good
	bad
)

func newTally(slots, need, k int) tally {
	return tally{slots: make([]slot, slots), need: need, k: min(k, slots)}
}

func (t *tally) sent(i int) { t.slots[i].fresh++ }

// delayed says that a put of shard i ran out of its time.
func (t *tally) delayed(i int) {
	t.slots[i].fresh--
	t.slots[i].late++
}

// answered says that a put of shard i ended, since the begin of the round.
func (t *tally) answered(i int, late, ok bool, since time.Duration) {
	s := &t.slots[i]
	if late {
		s.late--
	} else {
		s.fresh--
	}
	if !ok || s.durable {
		return
	}
	s.durable = true
	if t.durable++; t.durable == t.k {
		t.kth = max(since, 1)
	}
}

// outcome tells whether the wait is over. gaveUp says that late puts get no more time.
func (t *tally) outcome(gaveUp bool) outcome {
	fresh, late := 0, 0
	for _, s := range t.slots {
		if !s.durable {
			fresh += s.fresh
			late += s.late
		}
	}
	switch {
	case t.durable == len(t.slots):
		return t.judged()
	case fresh > 0:
		return waiting
	case t.durable >= t.need || late == 0 || gaveUp:
		return t.judged()
	}
	return waiting
}

func (t *tally) judged() outcome {
	if t.durable >= t.need {
		return good
	}
	return bad
}
