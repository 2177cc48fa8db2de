package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const workloadBucket = "mixed"

// workload reads and writes one bucket until it is stopped, and knows what every
// key must hold. Any error, wrong byte or missing key fails the test.
type workload struct {
	t      *testing.T
	client *s3.Client
	keys   int

	mu       sync.Mutex
	versions map[string]int // acknowledged, by key
	busy     map[string]bool

	operations atomic.Int64
	stopping   atomic.Bool
	running    sync.WaitGroup
}

func newWorkload(t *testing.T, c *s3.Client, keys int) *workload {
	t.Helper()
	mustCreateBucket(t, c, workloadBucket)
	w := &workload{t: t, client: c, keys: keys, versions: map[string]int{}, busy: map[string]bool{}}
	for i := range keys {
		w.write(t.Context(), fmt.Sprintf("key-%03d", i))
	}
	return w
}

// sizeOf gives a key its size, the same for all its versions: in the metadata, or of one small
// chunk, of one odd chunk, of two chunks.
func sizeOf(key string) int {
	sizes := []int{100, 4096, 20_000, 128 << 10, 1<<20 + 7, 9<<20 + 1}
	n, _ := strconv.Atoi(key[len("key-"):])
	return sizes[n%len(sizes)]
}

func (w *workload) write(ctx context.Context, key string) {
	w.mu.Lock()
	if w.busy[key] {
		w.mu.Unlock()
		return
	}
	w.busy[key] = true
	version := w.versions[key] + 1
	w.mu.Unlock()

	err := put(ctx, w.client, workloadBucket, key, body(key, version, sizeOf(key)))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy[key] = false
	if err == nil {
		w.versions[key] = version
	} else if ctx.Err() == nil {
		w.t.Errorf("PUT %s: %v", key, err)
	}
}

func (w *workload) read(ctx context.Context, key string) {
	w.mu.Lock()
	if w.busy[key] {
		w.mu.Unlock()
		return
	}
	w.busy[key] = true
	version := w.versions[key]
	w.mu.Unlock()

	got, err := get(ctx, w.client, workloadBucket, key)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy[key] = false
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.t.Errorf("GET %s: %v", key, err)
	case !bytes.Equal(got, body(key, version, sizeOf(key))):
		w.t.Errorf("GET %s: wrong bytes (%d of them)", key, len(got))
	}
}

// start runs workers in the background; two of three operations are reads.
func (w *workload) start(workers int) {
	w.stopping.Store(false)
	for range workers {
		w.running.Go(func() {
			for !w.stopping.Load() {
				key := fmt.Sprintf("key-%03d", rand.IntN(w.keys))
				if rand.IntN(3) == 0 {
					w.write(w.t.Context(), key)
				} else {
					w.read(w.t.Context(), key)
				}
				w.operations.Add(1)
			}
		})
	}
}

func (w *workload) end() {
	w.stopping.Store(true)
	w.running.Wait()
}

// ran lets n more operations happen.
func (w *workload) ran(n int64) {
	w.t.Helper()
	until := w.operations.Load() + n
	poll(w.t, 2*time.Minute, fmt.Sprintf("%d more operations", n), func() bool {
		return w.operations.Load() >= until || w.t.Failed()
	})
}

// checkAll reads every key once.
func (w *workload) checkAll() {
	w.t.Helper()
	for i := range w.keys {
		w.read(w.t.Context(), fmt.Sprintf("key-%03d", i))
	}
}
