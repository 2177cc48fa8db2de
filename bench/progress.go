package bench

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	ttyInterval  = 500 * time.Millisecond
	lineInterval = 5 * time.Second
)

// progress tells, while a phase runs, how it goes.
type progress struct {
	out       io.Writer
	tty       bool
	name      string
	total     int           // requests until the phase is over; 0 when it ends by time
	duration  time.Duration // of the phase; 0 when it ends by count
	recorders []*recorder

	began    time.Time
	last     time.Time
	lastDone uint64
	lastByte int64
}

// run shows progress until ctx is done.
func (p *progress) run(ctx context.Context) {
	if p.out == nil {
		return
	}
	interval := lineInterval
	if p.tty {
		interval = ttyInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	p.began = time.Now()
	p.last = p.began
	for {
		select {
		case <-ctx.Done():
			p.clear()
			return
		case now := <-tick.C:
			p.show(now)
		}
	}
}

// clear empties the line for what is printed next.
func (p *progress) clear() {
	if p.tty {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (p *progress) show(now time.Time) {
	line := p.line(now)
	if p.tty {
		fmt.Fprint(p.out, "\r\x1b[K", line)
		return
	}
	fmt.Fprintln(p.out, line)
}

// line describes the time since the last line; the quantiles are those of the whole phase.
func (p *progress) line(now time.Time) string {
	var all tally
	for _, n := range gather(p.recorders) {
		if n.kind != kindWalk && n.kind != kindPageFirst && n.kind != kindPageLast {
			all.merge(&n.tally)
		}
	}
	done := all.latency.total
	seconds := max(now.Sub(p.last).Seconds(), 1e-3)
	rate := float64(done-min(p.lastDone, done)) / seconds
	mibs := float64(all.bytes-min(p.lastByte, all.bytes)) / seconds / (1 << 20)
	p.last, p.lastDone, p.lastByte = now, done, all.bytes

	elapsed := now.Sub(p.began)
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", p.name, elapsed.Round(time.Second))
	if p.total > 0 {
		fmt.Fprintf(&b, ", %d of %d", done, p.total)
	}
	fmt.Fprintf(&b, " | %s/s %s MiB/s | p50 %s ms p99 %s ms | %d errors", figure(rate), figure(mibs),
		milliseconds(all.latency.quantile(0.5)), milliseconds(all.latency.quantile(0.99)), all.failed())
	if left, known := p.left(elapsed, done); known {
		fmt.Fprintf(&b, " | ETA %s", left.Round(time.Second))
	}
	return b.String()
}

func (p *progress) left(elapsed time.Duration, done uint64) (time.Duration, bool) {
	if p.duration > 0 {
		return max(p.duration-elapsed, 0), true
	}
	if done == 0 || p.total == 0 {
		return 0, false
	}
	return time.Duration(float64(elapsed) * float64(max(p.total-int(done), 0)) / float64(done)), true
}

func milliseconds(d time.Duration) string { return figure(float64(d) / float64(time.Millisecond)) }
