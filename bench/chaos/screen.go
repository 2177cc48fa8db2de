package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"kintsugi/bench/chaos/report"
)

// screen shows a run while it is under way: on a terminal a picture that is drawn anew, elsewhere a line from time to time.
type screen struct {
	run *run

	mu    sync.Mutex // guards all below, and the output
	news  []string   // that was told, all of it
	lines int        // that the picture has now
}

// How often the picture is drawn, and how often a line is printed.
const (
	drawInterval = 500 * time.Millisecond
	lineInterval = 5 * time.Second
	newsLines    = 6
	recent       = 2 * time.Second // over which rates and latencies are taken
)

func newScreen(r *run) *screen { return &screen{run: r} }

// say tells what happens now.
func (s *screen) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprintf("%6.1fs  %s", time.Since(s.run.began).Seconds(), text)
	if !s.run.config.TTY {
		fmt.Fprintln(s.run.config.Stdout, line)
		return
	}
	s.news = append(s.news, line)
	s.draw()
}

// watch draws until ctx ends.
func (s *screen) watch(ctx context.Context) {
	interval := lineInterval
	if s.run.config.TTY {
		interval = drawInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		if s.run.config.TTY {
			s.draw()
		} else {
			fmt.Fprintf(s.run.config.Stdout, "%6.1fs  %s\n", time.Since(s.run.began).Seconds(), strings.Join(s.figures(), "; "))
		}
		s.mu.Unlock()
	}
}

// draw draws the picture over the last one.
func (s *screen) draw() {
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.lines)
	}
	lines := append([]string{fmt.Sprintf("kintsugi bench chaos  scenario %s, seed %d", s.run.config.Scenario.Name, s.run.config.Seed), ""}, s.figures()...)
	lines = append(lines, "")
	lines = append(lines, s.news[max(0, len(s.news)-newsLines):]...)
	for _, line := range lines {
		if width := s.run.config.Width; width > 0 && len(line) >= width {
			line = line[:width-1] // a line that wraps would be two
		}
		fmt.Fprintf(&b, "\x1b[2K%s\n", line)
	}
	for range max(0, s.lines-len(lines)) {
		b.WriteString("\x1b[2K\n")
	}
	s.lines = max(s.lines, len(lines))
	fmt.Fprint(s.run.config.Stdout, b.String())
}

// figures are the state of things in a few lines.
func (s *screen) figures() (lines []string) {
	r := s.run
	if r.log == nil || r.director == nil {
		return nil
	}
	now := r.log.Now()
	ops := r.log.Snapshot().Usual().Ops
	var took []time.Duration
	var bytes int64
	failed := 0
	for i := len(ops) - 1; i >= 0 && ops[i].End > now-recent; i-- {
		took = append(took, ops[i].Took())
		bytes += ops[i].SizeBytes
		if ops[i].Outcome.Failed() {
			failed++
		}
	}
	slices.Sort(took)
	all := 0
	for i := range ops {
		if ops[i].Outcome.Failed() {
			all++
		}
	}
	lines = append(lines, fmt.Sprintf("%5.0f requests/s, %5.1f MB/s, p50 %4.0f ms, p99 %5.0f ms, %d in flight, %d errors in %d requests, %d of them now",
		float64(len(took))/recent.Seconds(), float64(bytes)/1e6/recent.Seconds(), report.Quantile(took, 0.5)*1e3, report.Quantile(took, 0.99)*1e3,
		r.load.InFlight(), all, len(ops), failed))
	if r.watcher != nil {
		lines = append(lines, r.watcher.line())
	}
	var current []string
	for _, f := range r.director.snapshot() {
		if !f.over {
			current = append(current, fmt.Sprintf("%s %s since %.0f s", f.Fault.Fault, strings.Join(f.Nodes, " "), (now-f.begin).Seconds()))
		}
	}
	if len(current) == 0 {
		current = []string{"no fault now"}
	}
	return append(lines, strings.Join(current, ", ")+fmt.Sprintf("; about %.0f s to go", r.director.remaining().Seconds()))
}

// line says how the cluster is.
func (w *watcher) line() string {
	s, asked := w.status()
	if asked < 0 {
		return "the cluster has not answered yet"
	}
	read, written := w.sum()
	text := fmt.Sprintf("%d of %d nodes up", s.Up(), len(s.Nodes))
	if s.Chunks != nil {
		text += "; chunks"
		for lost, n := range s.Chunks.ByLost {
			if lost == 0 || n > 0 {
				text += fmt.Sprintf(" %d with %s", n, lacking(lost))
			}
		}
		if s.Chunks.Unreadable > 0 {
			text += fmt.Sprintf(" %d unreadable", s.Chunks.Unreadable)
		}
	}
	return text + fmt.Sprintf("; repair read %.0f MB, wrote %.0f MB", read/1e6, written/1e6)
}

func lacking(lost int) string {
	if lost == 0 {
		return "all shards,"
	}
	return fmt.Sprintf("%d lost,", lost)
}
