package membership

import (
	"time"

	"kintsugi/placement"
)

// flapping remembers how a drive that was given up came back, to be more patient with it the next time: it
// moves more bytes than it saves.
type flapping struct {
	out   time.Time // when it was given up
	back  time.Time // when it came back
	count int
}

const (
	maxFlaps   = 3  // the patience doubles so many times
	flapWindow = 20 // times OutAfter: a drive that stayed for so long flaps no more
)

// noteFlapping compares two maps.
func (t *Table) noteFlapping(now time.Time, old, next *placement.Map) {
	if old == nil {
		return
	}
	for _, d := range next.Drives {
		was, ok := old.Drive(d.ID)
		if !ok || was.State == d.State {
			continue
		}
		f := t.flaps[d.ID]
		switch {
		case d.State == placement.Out && f == nil:
			t.flaps[d.ID] = &flapping{out: now}
		case d.State == placement.Out:
			f.out = now
		case was.State == placement.Out && f != nil:
			f.back = now
			f.count = min(f.count+1, maxFlaps)
		}
	}
}

// patience is how long the drive may be away before it is given up. calm tells whether it has not flapped lately.
func (t *Table) patience(now time.Time, id placement.DriveID, outAfter time.Duration) (wait time.Duration, calm bool) {
	f := t.flaps[id]
	if f == nil || f.count == 0 {
		return outAfter, true
	}
	gone := t.gone[id]
	if gone.IsZero() {
		gone = now
	}
	if gone.Sub(f.back) > flapWindow*outAfter {
		delete(t.flaps, id)
		return outAfter, true
	}
	return outAfter << f.count, false
}
