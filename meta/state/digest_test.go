package state_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state"
)

// sum waits for a digest.
func (d *driver) sum(group uint32, index uint64) uint64 {
	d.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		sum, err := d.Digest(group, index)
		if err == nil {
			return sum
		}
		if !errors.Is(err, state.ErrDigestOpen) || time.Now().After(deadline) {
			d.t.Fatal(err)
		}
	}
}

func (d *driver) putEntry(group uint32, i int) raftgroup.Entry {
	return d.entry(group, meta.OpPutObject, putBody(fmt.Sprint("key", i), []byte(fmt.Sprint("body", i))))
}

// Replicas that executed the same have the same digest, however their entries came in batches and whatever came later.
func TestDigestIsOfItsIndex(t *testing.T) {
	sums := map[string]uint64{}
	for _, batch := range []int{1, 3, 100} {
		d := openDriver(t, t.TempDir(), state.Config{})
		d.createBucket(0)
		d.createBucket(1)
		var all []raftgroup.Entry
		var index uint64
		for i := range 50 {
			all = append(all, d.putEntry(0, i))
			if i == 30 {
				all = append(all, d.entry(0, meta.OpDigest, meta.Digest{}))
				index = d.index[0]
			}
			if i%7 < batch { // another group does not matter
				all = append(all, d.putEntry(1, i))
			}
		}
		for len(all) > 0 {
			n := min(batch, len(all))
			d.apply(all[:n]...)
			all = all[n:]
		}
		sums[fmt.Sprint(d.sum(0, index))] = index
		if _, err := d.Digest(0, index-1); !errors.Is(err, state.ErrNoDigest) {
			t.Errorf("a digest at another index: %v", err)
		}
		if _, err := d.Digest(1, index); !errors.Is(err, state.ErrNoDigest) {
			t.Errorf("a digest of another group: %v", err)
		}
	}
	if len(sums) != 1 {
		t.Errorf("digests differ: %v", sums)
	}
}

// The digest of a restored replica is that of its peer, and one command more or less changes it.
func TestDigestShowsDifferences(t *testing.T) {
	a := openDriver(t, t.TempDir(), state.Config{})
	a.createBucket(0)
	for i := range 40 {
		a.apply(a.putEntry(0, i))
	}
	b := openDriver(t, t.TempDir(), state.Config{})
	restoreFrom(t, a, b)
	digest := func(d *driver) uint64 {
		result := d.apply(d.entry(0, meta.OpDigest, meta.Digest{}))[0]
		if result != d.index[0] {
			t.Fatalf("a digest's result is %v at %d", result, d.index[0])
		}
		return d.sum(0, d.index[0])
	}
	if one, other := digest(a), digest(b); one != other {
		t.Error("digests of equal states differ")
	}
	b.apply(b.putEntry(0, 107))
	a.apply(a.putEntry(0, 108))
	if one, other := digest(a), digest(b); one == other {
		t.Error("digests of different states are equal")
	}
}

func restoreFrom(t *testing.T, from, to *driver) {
	t.Helper()
	s, err := from.Snapshot(0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pr, pw := io.Pipe()
	go func() {
		_, err := s.WriteTo(pw)
		pw.CloseWithError(err)
	}()
	if _, err := to.QueryReplica(0, meta.BucketQuery{Name: bucket}); !errors.Is(err, state.ErrIncomplete) {
		t.Errorf("an empty replica answered: %v", err)
	}
	if err := to.Restore(0, s.Position(), pr); err != nil {
		t.Fatal(err)
	}
	if _, err := to.QueryReplica(0, meta.BucketQuery{Name: bucket}); err != nil {
		t.Errorf("a restored replica: %v", err)
	}
	to.index[0] = from.index[0]
}
