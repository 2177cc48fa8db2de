package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Goal is what a command waits for. It is pure: a status in, what is left out.
type Goal struct {
	what   string
	kind   string // of the change, or rebuild or scrub
	target string // drives of this node, or the drive whose id begins so; "": all
	epoch  uint64 // of the map that the status must know
	serial uint64 // orders that nodes, or the scrub that drives must have reached
}

// GoalOf returns when a change that was made is complete.
func GoalOf(p Plan) Goal {
	return Goal{what: p.Change.String(), kind: p.Change.Kind, target: p.Change.Target, epoch: p.Epoch + 1}
}

// RebuildGoal is reached when every node has had the order and lacks nothing.
func RebuildGoal(o Order) Goal { return Goal{what: "rebuild", kind: "rebuild", serial: o.Serial} }

// ScrubGoal is reached when every drive that can be reached has been read.
func ScrubGoal(o Order) Goal { return Goal{what: "scrub", kind: "scrub", serial: o.ScrubSerial} }

// ErrStuck says that the goal cannot be reached while things are as they are.
var ErrStuck = errors.New("not complete")

// left counts what is still to be done, in a unit of the goal's own; 0 is complete.
func (g Goal) left(s Status) (n int, unit string) {
	if s.Epoch < g.epoch {
		return 1, "epoch"
	}
	switch g.kind {
	case Drain, Remove:
		for _, d := range s.Drives {
			if d.isNamed(g.target) {
				n += d.Slots + d.Leaving
			}
		}
		return n, "slot"
	case "rebuild":
		n = s.Repair.PendingShards + s.Repair.PendingPartitions + s.Moving
		for _, node := range s.Nodes {
			if node.Up && node.Orders < g.serial {
				n++
			}
		}
		return n, "shard or partition"
	case "scrub":
		for _, d := range s.Drives {
			if d.Live && d.Scrubbed < g.serial {
				n++
			}
		}
		return n, "drive"
	}
	return s.Moving, "partition"
}

// isNamed tells whether a target means this drive, as Facts.find does.
func (d Drive) isNamed(target string) bool {
	return d.Node == target || d.Node+":"+d.Dir == target || len(target) >= minIDDigits && len(target) <= len(d.ID) && d.ID[:len(target)] == target
}

// waitInterval is how often the cluster is asked, and settleRounds how often it must say "complete" in a row: what a
// new map asks for is known to the drives a moment later.
const (
	waitInterval = time.Second
	settleRounds = 2
)

// StatusOf is the part of a Client that Wait needs.
type StatusOf interface {
	Status(ctx context.Context, chunks bool) (Status, error)
}

// Wait prints how far it is until the goal is reached or ctx ends. Progress overwrites its
// line where live is true, else there is a line now and then.
func Wait(ctx context.Context, c StatusOf, g Goal, out io.Writer, live bool) (Status, error) {
	p := progress{begun: time.Now()}
	done := 0
	for {
		s, err := c.Status(ctx, false)
		switch {
		case ctx.Err() != nil:
			return s, interrupted(ctx, g)
		case errors.Is(err, ErrRefused), errors.Is(err, ErrFormat):
			return s, err
		case err == nil:
			n, unit := g.left(s)
			line := p.step(time.Now(), n, unit, s.Repair.BytesPerSecond)
			if done++; n > 0 {
				done = 0
			}
			if n > 0 || done >= settleRounds {
				p.print(out, live, g.what+": "+line, n == 0)
			}
		}
		if done >= settleRounds {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, interrupted(ctx, g)
		case <-time.After(waitInterval):
		}
	}
}

// interrupted says that the work goes on without anybody who waits.
func interrupted(ctx context.Context, g Goal) error {
	return fmt.Errorf("%w: %s goes on by itself; look again with: kintsugi admin status --watch (%w)", ErrStuck, g.what, context.Cause(ctx))
}

// progress is how far a work is.
type progress struct {
	begun   time.Time
	most    int // left at its highest: the work may find out only then how much it is
	since   time.Time
	printed time.Time
	last    string
}

// step takes note of what is left and says so.
func (p *progress) step(now time.Time, left int, unit string, bytesPerSecond float64) string {
	if left >= p.most {
		p.most, p.since = left, now
	}
	if left == 0 {
		return "complete after " + duration(now.Sub(p.begun))
	}
	text := fmt.Sprintf("%s left (%d %%), %s/s", count(left, unit), 100*(p.most-left)/p.most, Size(uint64(bytesPerSecond)))
	took := now.Sub(p.since)
	if gone := p.most - left; gone > 0 && took > 0 {
		text += ", about " + duration(time.Duration(float64(took)*float64(left)/float64(gone)))
	}
	return text
}

// lineEvery is how often a line is printed where it cannot be overwritten.
const lineEvery = 10 * time.Second

func (p *progress) print(out io.Writer, live bool, line string, last bool) {
	switch {
	case live:
		fmt.Fprintf(out, "\r\x1b[K%s", line)
		if last {
			fmt.Fprintln(out)
		}
	case last || line != p.last && time.Since(p.printed) >= lineEvery:
		fmt.Fprintln(out, line)
		p.printed = time.Now()
	}
	p.last = line
}
