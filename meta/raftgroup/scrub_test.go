package raftgroup

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// fill writes until the log of the first host has several segments, and returns their paths.
func (c *cluster) fill(segments int) []string {
	c.t.Helper()
	for i := 0; ; i++ {
		c.put(uint32(i%c.groups), fmt.Sprint(i, strings.Repeat("x", 4000)))
		if paths := logFiles(c.t, c.config(c.first[0]).Dir); len(paths) >= segments {
			return paths
		}
	}
}

func TestScrub(t *testing.T) {
	tests := []struct {
		name    string
		segment int // that is damaged
		offset  int64
		uncut   bool // the state cannot be made durable
		failed  bool
	}{
		{name: "all well", segment: -1},
		{name: "header of the first batch", segment: 0, offset: 20},
		{name: "first record", segment: 0, offset: batchHeaderSize + 40},
		{name: "middle of a segment", segment: 1, offset: 20000},
		{name: "start of a segment", segment: 2, offset: 40},
		{name: "entries that the state does not hold durably", segment: 1, offset: 20000, uncut: true, failed: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := startCluster(t, 2, 1, 2, 3)
			paths := c.fill(5)
			h := c.hosts[1]
			if tt.segment >= 0 {
				flip(t, paths[tt.segment], tt.offset)
			}
			if tt.uncut {
				c.machines[1].mu.Lock()
				c.machines[1].fail = errors.New("no sync")
				c.machines[1].mu.Unlock()
			}
			err := h.Scrub(t.Context(), 0)
			if tt.segment < 0 {
				must(t, err)
				return
			}
			if !tt.failed && !errors.Is(err, ErrDamaged) {
				t.Fatalf("Scrub = %v, want ErrDamaged", err)
			}
			if (h.Err() != nil) != tt.failed {
				t.Fatalf("the host failed: %v", h.Err())
			}
			if tt.failed {
				return
			}
			must(t, h.Scrub(t.Context(), 0))
			c.put(0, "after")
			c.same(1, 2, 3)
			c.close(1)
			c.open(1) // what was dropped leaves no gap
			c.same(1, 2, 3)
		})
	}
}

// TestScrubTornTail checks that what recovery has left out is no damage.
func TestScrubTornTail(t *testing.T) {
	c := startCluster(t, 1, 1)
	c.put(0, "a")
	c.put(0, "b")
	c.close(1)
	paths := logFiles(t, c.config(1).Dir)
	flip(t, paths[len(paths)-1], c.config(1).SegmentBytes-10) // recovery goes on in the next segment in any case
	c.open(1)
	c.put(0, "c")
	must(t, c.hosts[1].Scrub(t.Context(), 0))
}

// TestScrubWhileWriting scrubs a log whose segments are dropped and written again meanwhile.
func TestScrubWhileWriting(t *testing.T) {
	c := startCluster(t, 2, 1, 2, 3)
	done := make(chan error, 1)
	go func() {
		for range 200 {
			if err := c.hosts[1].Scrub(t.Context(), 0); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := 0; ; i++ {
		select {
		case err := <-done:
			must(t, err)
			return
		default:
			c.put(uint32(i%2), fmt.Sprint(i, strings.Repeat("x", 16000)))
		}
	}
}
