package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// workload reads and writes one bucket until it is stopped, and knows what every
// key must hold. Any error, wrong byte or missing key fails the test.
type workload struct {
	t      *testing.T
	client *s3.Client
	bucket string
	keys   int
	sizes  []int

	mu       sync.Mutex
	versions map[string]int // acknowledged, by key
	busy     map[string]bool

	operations atomic.Int64
	stopping   atomic.Bool
	running    sync.WaitGroup
}

func newWorkload(t *testing.T, c *s3.Client, bucket string, keys int, sizes ...int) *workload {
	t.Helper()
	mustCreateBucket(t, c, bucket)
	w := &workload{t: t, client: c, bucket: bucket, keys: keys, sizes: sizes, versions: map[string]int{}, busy: map[string]bool{}}
	for i := range keys {
		w.write(t.Context(), fmt.Sprintf("key-%03d", i))
	}
	return w
}

// sizeOf gives a key its size: it stays the same over its versions.
func (w *workload) sizeOf(key string) int {
	n, _ := strconv.Atoi(key[len("key-"):])
	return w.sizes[n%len(w.sizes)]
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

	err := put(ctx, w.client, w.bucket, key, body(key, version, w.sizeOf(key)))
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

	got, err := get(ctx, w.client, w.bucket, key)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy[key] = false
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.t.Errorf("GET %s: %v", key, err)
	case !bytes.Equal(got, body(key, version, w.sizeOf(key))):
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

// mixedSizes has objects in the metadata, of one small chunk, of one odd chunk and of two chunks.
func mixedSizes() []int { return []int{100, 4096, 20_000, 128 << 10, 1<<20 + 7, 9<<20 + 1} }

// pairs are all ways to lose two of six drives; without FULL a few of them.
func pairs() [][2]int {
	var all [][2]int
	for a := range 6 {
		for b := a + 1; b < 6; b++ {
			all = append(all, [2]int{a, b})
		}
	}
	if isFull() {
		return all
	}
	return [][2]int{{0, 1}, {2, 5}, {3, 4}}
}

func removeDrive(t *testing.T, dir string) {
	t.Helper()
	// The server may be making files in it: what appears meanwhile goes with the next try.
	poll(t, 10*time.Second, "removed "+dir, func() bool { return os.RemoveAll(dir) == nil })
}

// waitRedundant waits until every chunk has all its shards and no drive is missing.
func waitRedundant(t *testing.T, p *process, limit time.Duration) {
	t.Helper()
	var last string
	defer func() {
		if t.Failed() {
			t.Log("last status: ", last)
			text, _ := fetch(p.admin + "/metrics")
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "kintsugi_repair") || strings.HasPrefix(line, "kintsugi_blob") {
					t.Log(strings.TrimSpace(line))
				}
			}
		}
	}()
	poll(t, limit, "all shards and replicas are back", func() bool {
		s, text := p.status()
		last = text
		return s.isWhole()
	})
}

// serverStatus is what the tests need of /status.
type serverStatus struct {
	Ready      bool
	Moving     int `json:"partitionsMoving"`
	Repair     struct{ PendingShards, PendingPartitions int }
	Drives     []struct{ State string }
	Redundancy map[string]int `json:"chunksByRedundancy"`
	Replicas   struct{ Voters, Alive, Want int }
}

func (s serverStatus) isWhole() bool {
	if !s.Ready || s.Moving > 0 || s.Repair.PendingShards > 0 || s.Repair.PendingPartitions > 0 || s.Replicas.Alive < s.Replicas.Want || s.Replicas.Voters != s.Replicas.Want {
		return false
	}
	for _, d := range s.Drives {
		if d.State != "open" {
			return false
		}
	}
	for live := range s.Redundancy {
		if live != "whole" {
			return false
		}
	}
	return true
}

func (p *process) status() (serverStatus, string) {
	var s serverStatus
	text, err := fetch(p.admin + "/status")
	if err == nil {
		err = json.Unmarshal([]byte(text), &s)
	}
	if err != nil {
		return serverStatus{}, err.Error()
	}
	return s, text
}

func fetch(url string) (string, error) {
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(data), err
}

// metric sums the samples of a counter over its labels.
func (p *process) metric(name string) float64 {
	p.t.Helper()
	text, err := fetch(p.admin + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	sum := 0.0
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{[^}]*\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			p.t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// Any two of six drive directories are removed under load, given back empty, and filled again.
func TestAnyTwoOfSixDrivesMayDie(t *testing.T) {
	p := startProcess(t, tempDrives(t, 6))
	w := newWorkload(t, p.client(), "mixed", 48, mixedSizes()...)
	w.start(4)
	for _, pair := range pairs() {
		for _, i := range pair {
			removeDrive(t, p.dirs[i])
		}
		w.ran(150)
		for _, i := range pair {
			if err := os.Mkdir(p.dirs[i], 0o700); err != nil {
				t.Fatal(err)
			}
		}
		waitRedundant(t, p, 2*time.Minute)
		if t.Failed() {
			t.Fatalf("after drives %v", pair)
		}
	}
	w.end()
	w.checkAll()
	if n := p.metric("kintsugi_blob_shards_reconstructed_total"); n == 0 {
		t.Error("the metrics show no reconstructed shard")
	}
}

// The server starts and serves without two drives, whichever they are, and fills them again.
func TestRestartWithoutTwoDrives(t *testing.T) {
	p := startProcess(t, tempDrives(t, 6))
	w := newWorkload(t, p.client(), "mixed", 24, mixedSizes()...)
	for _, pair := range pairs() {
		p.stop()
		for _, i := range pair {
			removeDrive(t, p.dirs[i])
		}
		p.start()
		w.client = p.client()
		w.checkAll()
		w.start(2)
		w.ran(50)
		w.end()
		for _, i := range pair {
			if err := os.Mkdir(p.dirs[i], 0o700); err != nil {
				t.Fatal(err)
			}
		}
		waitRedundant(t, p, 2*time.Minute)
		w.checkAll()
		if t.Failed() {
			t.Fatalf("after drives %v", pair)
		}
	}
}

// flipBytes damages every file of a drive, except for its lock: one byte in each 64 KiB.
func flipBytes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // the server rotates its files meanwhile
		}
		if err != nil || entry.IsDir() {
			return err
		}
		return flipFile(path)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func flipFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	for at := rand.Int64N(64 << 10); at < min(info.Size(), 64<<20); at += 64 << 10 {
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			return nil // it became shorter
		}
		b[0] ^= 1 << rand.IntN(8)
		if _, err := f.WriteAt(b[:], at); err != nil {
			return err
		}
	}
	return nil
}

func TestFlippedBytesInTwoDrives(t *testing.T) {
	for _, c := range []struct {
		name    string
		running bool
	}{{"while it runs", true}, {"while it is stopped", false}} {
		t.Run(c.name, func(t *testing.T) {
			p := startProcess(t, tempDrives(t, 6))
			w := newWorkload(t, p.client(), "mixed", 48, mixedSizes()...)
			if !c.running {
				p.stop()
			}
			flipBytes(t, p.dirs[1])
			flipBytes(t, p.dirs[4])
			if !c.running {
				p.start()
				w.client = p.client()
			}
			w.checkAll()
			w.start(4)
			w.ran(200)
			w.end()
			w.checkAll()
			if t.Failed() {
				return
			}
			p.stop()
			p.start()
			w.client = p.client()
			w.checkAll()
		})
	}
}

// Two drives keep two complete copies: either one is enough.
func TestOneOfTwoDrivesIsEnough(t *testing.T) {
	for lost := range 2 {
		t.Run(fmt.Sprint("without drive ", lost+1), func(t *testing.T) {
			p := startProcess(t, tempDrives(t, 2))
			w := newWorkload(t, p.client(), "mixed", 12, mixedSizes()...)
			w.start(2)
			removeDrive(t, p.dirs[lost])
			w.ran(60)
			w.end()
			p.stop()
			p.start()
			w.client = p.client()
			w.checkAll()
			w.start(2)
			w.ran(20)
			w.end()
			if err := os.Mkdir(p.dirs[lost], 0o700); err != nil {
				t.Fatal(err)
			}
			waitRedundant(t, p, time.Minute)
			p.stop()
			removeDrive(t, p.dirs[1-lost])
			p.start()
			w.client = p.client()
			w.checkAll()
		})
	}
}

// A drive that is moved away and back continues with what it has.
func TestADriveComesBack(t *testing.T) {
	p := startProcess(t, tempDrives(t, 6))
	w := newWorkload(t, p.client(), "mixed", 24, mixedSizes()...)
	w.start(4)
	away := p.dirs[2] + "-away"
	if err := os.Rename(p.dirs[2], away); err != nil {
		t.Fatal(err)
	}
	w.ran(100)
	if err := os.Rename(away, p.dirs[2]); err != nil {
		t.Fatal(err)
	}
	waitRedundant(t, p, time.Minute)
	w.end()
	w.checkAll()
}

// Directories that are emptied in place become drives again, without a command.
func TestEmptiedDirectories(t *testing.T) {
	p := startProcess(t, tempDrives(t, 6))
	w := newWorkload(t, p.client(), "mixed", 24, mixedSizes()...)
	w.start(4)
	for _, dir := range []string{p.dirs[0], p.dirs[3]} {
		poll(t, 10*time.Second, "emptied "+dir, func() bool {
			entries, err := os.ReadDir(dir)
			for _, e := range entries {
				err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
			}
			return err == nil
		})
	}
	w.ran(50)
	waitRedundant(t, p, time.Minute)
	w.end()
	w.checkAll()
}

// Drives that change places while the server runs are drives where they are now.
func TestSwappedDirectories(t *testing.T) {
	p := startProcess(t, tempDrives(t, 6))
	w := newWorkload(t, p.client(), "mixed", 24, mixedSizes()...)
	w.start(4)
	aside := p.dirs[0] + "-aside"
	for _, move := range [][2]string{{p.dirs[0], aside}, {p.dirs[1], p.dirs[0]}, {aside, p.dirs[1]}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	w.ran(50)
	waitRedundant(t, p, time.Minute)
	w.end()
	w.checkAll()
}

// A server that misses more than m drives waits, says so, and goes on when enough of them are back: at
// its start and when they go while it runs.
func TestMoreThanMDrivesAway(t *testing.T) {
	p := startProcess(t, tempDrives(t, 6))
	w := newWorkload(t, p.client(), "mixed", 24, mixedSizes()...)
	move := func(from, to string) {
		for _, dir := range p.dirs[:4] {
			if err := os.Rename(dir+from, dir+to); err != nil {
				t.Fatal(err)
			}
		}
	}
	ready := func() bool {
		_, err := fetch(p.admin + "/health/ready")
		return err == nil
	}
	move("", "-away")
	poll(t, 10*time.Second, "not ready", func() bool { return !ready() })
	move("-away", "")
	poll(t, 20*time.Second, "ready", ready)
	waitRedundant(t, p, time.Minute)
	w.checkAll()

	p.stop()
	move("", "-away")
	back := time.AfterFunc(time.Second, func() { move("-away", "") })
	defer back.Stop()
	p.start() // waits for the ready line
	w.client = p.client()
	w.checkAll()
}

// One drive alone works, with a warning; its objects survive a restart.
func TestOneDrive(t *testing.T) {
	p := startProcess(t, tempDrives(t, 1))
	w := newWorkload(t, p.client(), "mixed", 12, mixedSizes()...)
	p.stop()
	p.start()
	w.client = p.client()
	w.checkAll()
}
