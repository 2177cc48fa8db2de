package pace_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/internal/pace"
)

func TestRate(t *testing.T) {
	const units = 10_000
	for _, c := range []struct {
		name      string
		perSecond int64
		busy      bool
		each      int64
		want      time.Duration
	}{
		{"one by one", 1000, false, 1, 10 * time.Second},
		{"in large pieces", 1000, false, 2500, 10 * time.Second},
		{"a quarter while busy", 1000, true, 10, 40 * time.Second},
		{"slower than one", 1, true, 5000, 10_000 * time.Second},
		{"no bound", 0, false, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pace.Pace{PerSecond: c.perSecond, Busy: func() bool { return c.busy }}
				began := time.Now()
				for range units / c.each {
					if err := p.Wait(t.Context(), c.each); err != nil {
						t.Fatal(err)
					}
				}
				const slack = 200 * time.Millisecond // a burst, and what is left to the next unit
				if took := time.Since(began); took > c.want || took < c.want-slack {
					t.Errorf("%d units took %v, want %v", units, took, c.want)
				}
			})
		})
	}
}

// Goroutines that share a pace share its rate.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pace.Pace{PerSecond: 100}
		began := time.Now()
		var working sync.WaitGroup
		for range 4 {
			working.Go(func() {
				for range 25 {
					_ = p.Wait(t.Context(), 10) // t's context does not end before
				}
			})
		}
		working.Wait()
		if took := time.Since(began); took > 10*time.Second || took < 9800*time.Millisecond {
			t.Errorf("1000 units at 100 per second took %v", took)
		}
	})
}

func TestEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p := pace.Pace{PerSecond: 1}
		if err := p.Wait(ctx, 60); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait: %v, want the error of the context", err)
		}
		if err := pace.Pause(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Pause: %v, want the error of the context", err)
		}
		if err := pace.Pause(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Pause of nothing: %v, want the error of the context", err)
		}
	})
}

// Who waits at a rate does not wait for it to be over when another one is set.
func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pace.Pace{PerSecond: 1}
		go func() {
			time.Sleep(time.Second)
			p.Set(1000)
		}()
		began := time.Now()
		for range 2 {
			if err := p.Wait(t.Context(), 1000); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < time.Second || took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
