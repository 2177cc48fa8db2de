package gateway

import (
	"fmt"
	"testing"

	"kintsugi/meta"
)

// TestRefused: only blobs that no command can refer to any more may be removed at once.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"the state machine refused it", fmt.Errorf("put: %w", meta.ErrPrecondition), true},
		{"nobody answered", meta.ErrUnavailable, false},
		{"unknown", fmt.Errorf("a surprise"), false},
		{"refused the second time, after a lost answer", fmt.Errorf("%w: %w", meta.ErrPrecondition, meta.ErrUncertain), false},
	} {
		if got := refused(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
