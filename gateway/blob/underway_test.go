package blob

import (
	"testing"
	"time"
)

func TestOldestRead(t *testing.T) {
	var u underway
	if at, ok := u.oldest(); ok {
		t.Fatalf("oldest of none = %v", at)
	}
	base := time.Unix(1_000_000, 0)
	first, second, third := u.begin(base.Add(10*time.Second)), u.begin(base.Add(900*time.Millisecond)), u.begin(base)
	steps := []struct {
		name string
		end  int64
		want int64 // seconds after base; negative: none is left
	}{
		{"one of two in the oldest second", second, 0},
		{"the other", third, 10},
		{"the last", first, -1},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			u.end(step.end)
			at, ok := u.oldest()
			if ok != (step.want >= 0) || ok && !at.Equal(base.Add(time.Duration(step.want)*time.Second)) {
				t.Errorf("oldest = %v, %v; want %d s after the base", at, ok, step.want)
			}
		})
	}
}
