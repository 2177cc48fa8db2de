package replica

import (
	"context"
	"testing"
	"time"

	"kintsugi/meta"
)

func TestCondense(t *testing.T) {
	drives := testDrives(t, 5)
	s, c := newTestSet(t, drives, 5)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	last, id, err := s.Condense(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustSeeBucket(t, c)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, d := range drives {
		if d != last {
			if err := Discard(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, ok, err := MemberRecord(last.Dir); got != id || !ok || err != nil {
		t.Fatalf("record = %d, %v, %v; want %d", got, ok, err, id)
	}
	alone, err := Open(Config{Groups: 2, Want: 1}, []Drive{last})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	mustSeeBucket(t, meta.NewClient(alone))
}
