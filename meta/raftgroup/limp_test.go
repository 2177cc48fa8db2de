package raftgroup

import (
	"testing"
	"time"
)

func TestLimp(t *testing.T) {
	const fast, slow = time.Millisecond, 200 * time.Millisecond
	for _, tt := range []struct {
		name   string
		writes []time.Duration
		want   bool
	}{
		{"nothing was written", nil, false},
		{"all fast", []time.Duration{fast, fast, fast, fast}, false},
		{"slow once", []time.Duration{fast, slow, slow, fast, slow, slow, fast}, false},
		{"slow", []time.Duration{fast, slow, slow, slow}, true},
		{"slow, then fast for a moment", []time.Duration{slow, slow, slow, fast, fast, slow}, true},
		{"well again", []time.Duration{slow, slow, slow, fast, fast, fast, fast, fast, fast, fast, fast}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l limp
			for _, took := range tt.writes {
				l.note(took)
			}
			if got := l.limps.Load(); got != tt.want {
				t.Errorf("limps: %v", got)
			}
		})
	}
}
