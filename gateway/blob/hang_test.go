package blob_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/gateway/blob/blobtest"
	"kintsugi/meta"
)

// TestHungDrives: two drives that take calls and never answer cost milliseconds, then nothing.
func TestHungDrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := blobtest.NewCluster(t, 6, 4, 2)
		s := open(t, cluster, impatient())
		body := random(1_000_000)
		b := write(t, s, body)
		hung := cluster.Drives[:2]
		for _, d := range hung {
			d.Hang(true, true)
		}
		timed(t, "a read, the first to meet them", 300*time.Millisecond, func() { mustRead(t, s, body, b) })
		time.Sleep(100 * time.Millisecond) // past the grace of the breakers
		timed(t, "a read that knows them", time.Millisecond, func() { mustRead(t, s, body, b) })
		timed(t, "a write, the first to meet them", 1500*time.Millisecond, func() { mustRead(t, s, body, write(t, s, body)) })
		timed(t, "a write that knows them", time.Millisecond, func() { mustRead(t, s, body, write(t, s, body)) })

		calls := hung[0].Puts.Load() + hung[0].Reads.Load()
		time.Sleep(time.Hour)
		write(t, s, body)
		if n := hung[0].Puts.Load() + hung[0].Reads.Load() - calls; n != 0 {
			t.Errorf("%d more calls to a drive that still hangs", n)
		}
		for _, d := range hung {
			d.Resume()
		}
		time.Sleep(time.Hour)
		mustRead(t, s, body, b)
		if got := write(t, s, body); got.Runs[len(got.Runs)-1].K != 4 {
			t.Errorf("drives are back, yet the code is still %+v", got.Runs)
		}
	})
}

// TestOneHungDrive: with k+1 durable a write does not wait for the last, and hands it to repair.
func TestOneHungDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hints hints
		cluster := blobtest.NewCluster(t, 6, 4, 2)
		config := impatient()
		config.Hint = hints.add
		s := open(t, cluster, config)
		cluster.Drives[4].Hang(false, true)
		body := random(200_000)
		var b meta.Blob
		timed(t, "write", 200*time.Millisecond, func() { b = write(t, s, body) })
		if hints.count() != 1 || b.Runs[0].K != 4 || b.Runs[0].Attempt != 0 {
			t.Errorf("%d hints, runs %+v", hints.count(), b.Runs)
		}
		mustRead(t, s, body, b)
		cluster.Drives[4].Resume()
	})
}

// TestSlowSubstituted: where there is a seventh drive it takes the shard of the one that hangs.
func TestSlowSubstituted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := blobtest.NewCluster(t, 7, 4, 2)
		s := open(t, cluster, impatient())
		cluster.Drives[4].Hang(false, true)
		body := random(200_000)
		for range 3 {
			b := write(t, s, body)
			if n := len(cluster.Shards(b.ID)); n != 6 {
				t.Errorf("%d shards are durable, want 6", n)
			}
		}
		cluster.Drives[4].Resume()
	})
}

// TestAllSlow: where every drive is slow none is suspect, and nothing fails.
func TestAllSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := blobtest.NewCluster(t, 6, 4, 2)
		s := open(t, cluster, impatient())
		for _, d := range cluster.Drives {
			d.Slow(400*time.Millisecond, 4*time.Second)
		}
		body := random(700_000)
		for range 5 {
			b := write(t, s, body)
			if len(b.Runs) != 1 || b.Runs[0].K != 4 || b.Runs[0].Attempt != 0 {
				t.Errorf("runs %+v", b.Runs)
			}
			mustRead(t, s, body, b)
		}
	})
}

// TestSlowDrive: one that is 200 ms late is left alone after a few requests.
func TestSlowDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := blobtest.NewCluster(t, 6, 4, 2)
		s := open(t, cluster, impatient())
		body := random(200_000)
		b := write(t, s, body)
		cluster.Drives[1].Slow(200*time.Millisecond, 0)
		for range 3 { // hiccups of many reads each
			for range 10 {
				timed(t, "read", 60*time.Millisecond, func() { mustRead(t, s, body, b) })
			}
			time.Sleep(300 * time.Millisecond)
		}
		before := cluster.Drives[1].Reads.Load()
		for range 10 {
			timed(t, "read", 60*time.Millisecond, func() { mustRead(t, s, body, b) })
		}
		if n := cluster.Drives[1].Reads.Load() - before; n > 0 {
			t.Errorf("%d of 10 reads still asked the slow drive", n)
		}
		time.Sleep(time.Second)
	})
}

// TestRemoveFromHungDrive: a drive that hangs stops the deletion queue once, not for ever.
func TestRemoveFromHungDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := blobtest.NewCluster(t, 6, 4, 2)
		s := open(t, cluster, impatient())
		first, second := write(t, s, random(100_000)), write(t, s, random(100_000))
		cluster.Drives[3].Hang(false, true)
		if err := s.Remove(t.Context(), first); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Remove: %v", err)
		}
		timed(t, "a removal that knows of it", time.Millisecond, func() {
			if err := s.Remove(t.Context(), second); err != nil {
				t.Errorf("Remove: %v", err)
			}
		})
		if n := len(cluster.Shards(first.ID)) + len(cluster.Shards(second.ID)); n != 2 {
			t.Errorf("%d shards are left, want those of the drive that hangs", n)
		}
		cluster.Drives[3].Resume()
		time.Sleep(time.Second)
		if err := s.Remove(t.Context(), second); err != nil || len(cluster.Shards(second.ID)) != 0 {
			t.Errorf("Remove after it is back: %v", err)
		}
	})
}

func timed(t *testing.T, what string, atMost time.Duration, do func()) {
	t.Helper()
	begun := time.Now()
	do()
	if took := time.Since(begun); took > atMost {
		t.Errorf("%s took %v, want at most %v", what, took, atMost)
	}
}
