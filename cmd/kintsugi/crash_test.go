package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// ledger is what a client knows after a crash: what was acknowledged for a key,
// and what was sent without an answer.
type ledger struct {
	mu    sync.Mutex
	acked map[string]int
	sent  map[string]int
}

// The server is killed at random moments under load. Every acknowledged object
// reads back byte for byte, no other is half there, and a restart takes seconds.
func TestKillNineLosesNothing(t *testing.T) {
	rounds := 5
	if isFull() {
		rounds = 50
	}
	sizes := []int{1000, 4096, 40_000, 300_000, 9 << 20}
	l := &ledger{acked: map[string]int{}, sent: map[string]int{}}
	p := startProcess(t, tempDrives(t, 6))
	mustCreateBucket(t, p.client(), "crash")
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		c := p.client()
		for w := range 8 {
			writers.Go(func() { l.write(ctx, c, round, w, sizes) })
		}
		time.Sleep(time.Duration(200+rand.IntN(800)) * time.Millisecond) // the random moment
		p.kill()
		cancel()
		writers.Wait()
		began := time.Now()
		p.start()
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("round %d: the restart took %s", round, took)
		}
		l.check(t, p.client(), sizes)
		if t.Failed() {
			t.Fatalf("after round %d", round)
		}
	}
	t.Logf("%d objects acknowledged in %d rounds", len(l.acked), rounds)
}

// write puts objects, overwriting some, until ctx ends.
func (l *ledger) write(ctx context.Context, c *s3.Client, round, worker int, sizes []int) {
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("w%d-k%d", worker, n%40)
		l.mu.Lock()
		version := max(l.acked[key], l.sent[key]) + 1
		l.sent[key] = version
		l.mu.Unlock()
		if put(ctx, c, "crash", key, body(key, version, sizes[n%len(sizes)])) != nil {
			continue
		}
		l.mu.Lock()
		l.acked[key] = version
		l.mu.Unlock()
	}
}

// check reads every key: it must be the acknowledged version, or one that was sent after it.
func (l *ledger) check(t *testing.T, c *s3.Client, sizes []int) {
	t.Helper()
	for key, sent := range l.sent {
		var n int
		fmt.Sscanf(key[strings.Index(key, "-k"):], "-k%d", &n)
		got, err := get(t.Context(), c, "crash", key)
		if errorCode(err) == "NoSuchKey" && l.acked[key] == 0 {
			delete(l.sent, key) // it was never there
			continue
		}
		if err != nil {
			t.Errorf("GET %s: %v", key, err)
			continue
		}
		found := 0
		for version := max(l.acked[key], 1); version <= sent; version++ {
			if slices.Equal(got, body(key, version, sizes[n%len(sizes)])) {
				found = version
			}
		}
		if found == 0 {
			t.Errorf("GET %s: %d bytes that are no version from %d to %d", key, len(got), l.acked[key], sent)
		}
		l.acked[key], l.sent[key] = found, found
	}
}

// Many clients race to create one key: exactly one wins, every time.
func TestConditionalCreateHasOneWinner(t *testing.T) {
	rounds := 50
	if isFull() {
		rounds = 1000
	}
	p := startProcess(t, tempDrives(t, 6))
	c := p.client()
	mustCreateBucket(t, c, "race")
	for round := range rounds {
		key := fmt.Sprint("lock-", round)
		var racing sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for range 64 {
			racing.Go(func() {
				_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
					Bucket: aws.String("race"), Key: &key, Body: strings.NewReader("mine"), IfNoneMatch: aws.String("*"),
				})
				mu.Lock()
				defer mu.Unlock()
				switch code := errorCode(err); {
				case err == nil:
					won++
				case code != "PreconditionFailed" && code != "ConditionalRequestConflict":
					t.Errorf("%s: %v", key, err)
				}
			})
		}
		racing.Wait()
		if won != 1 {
			t.Fatalf("%s has %d winners", key, won)
		}
	}
}
