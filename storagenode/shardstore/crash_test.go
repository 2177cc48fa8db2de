package shardstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

// crashDir tells the test binary to be the child of TestCrash.
const crashDir = "KINTSUGI_TEST_CRASH_DIR"

// crashConfig makes segments turn over and be compacted all the time.
var crashConfig = shardstore.Config{
	SegmentSize: 2 << 20, GrowBytes: 512 << 10, MinFreeBytes: -1,
	TidyInterval: 20 * time.Millisecond, CompactBytesPerSecond: 1 << 30,
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
	}
	os.Exit(m.Run())
}

// crashWriters write and delete, each its own shards.
const crashWriters = 8

// crashChild works until it is killed. It says what it is about to do, and what
// has been acknowledged: "+n" a put, "?n" a delete begins, "-n" it is done.
func crashChild(dir string) {
	cfg := crashConfig
	cfg.Drive = placement.DriveID{1}
	s, err := shardstore.Open(dir, cfg)
	if err != nil {
		fmt.Println("!", err)
		os.Exit(1)
	}
	var first int
	fmt.Sscan(os.Getenv(crashDir+"_FIRST"), &first)
	var mu sync.Mutex
	say := func(op string, n int) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%s%d\n", op, n)
	}
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() {
			for n := first + w; ; n += crashWriters {
				h := shardtest.Header(n)
				if err := s.Put(context.Background(), h, shardtest.Payload(h.ID, crashSize(n))); err != nil {
					say("! put: "+err.Error()+" ", n)
					return
				}
				say("+", n)
				if old := n - 20*crashWriters; old >= first && old%4 != 0 {
					say("?", old)
					if err := s.Delete(context.Background(), []placement.ShardID{shardtest.Header(old).ID}); err != nil {
						say("! delete: "+err.Error()+" ", old)
						return
					}
					say("-", old)
				}
			}
		})
	}
	wg.Wait()
	os.Exit(1)
}

func crashSize(n int) int { return []int{300, 9000, 40000, 66000, 150000}[n%5] }

// crashState is what the child's words say about a shard.
type crashState int

const (
	crashWritten crashState = iota + 1
	crashDeleting
	crashDeleted
)

// TestCrash kills a process that writes and deletes, again and again: whatever
// it acknowledged is there, or gone, and nothing is wrong.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	known := map[int]crashState{}
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		crashOnce(t, dir, round*1_000_000, known)
		if round%3 == 1 {
			continue // the next child finds a store that nobody has opened since
		}
		s := openAt(t, dir, crashConfig)
		crashCheck(t, s, known)
		s.Close()
		if t.Failed() {
			return
		}
	}
}

func crashOnce(t *testing.T, dir string, first int, known map[int]crashState) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprintf("%s_FIRST=%d", crashDir, first))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	for begun := false; ; {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if !begun {
			begun = true
			kill := time.AfterFunc(time.Duration(rand.IntN(400))*time.Millisecond, func() { cmd.Process.Kill() })
			defer kill.Stop()
		}
		if strings.HasPrefix(line, "!") {
			t.Fatalf("child: %s", line)
		}
		var n int
		fmt.Sscan(line[1:], &n)
		known[n] = map[byte]crashState{'+': crashWritten, '?': crashDeleting, '-': crashDeleted}[line[0]]
	}
	_ = cmd.Wait() // killed
}

func crashCheck(t *testing.T, s *shardstore.Store, known map[int]crashState) {
	t.Helper()
	var live int
	for n, st := range known {
		id := shardtest.Header(n).ID
		switch st {
		case crashWritten:
			live++
			shardtest.Want(t, s, id, crashSize(n))
		case crashDeleted:
			_, err := s.Stat(t.Context(), id)
			shardtest.WantError(t, err, shardstore.ErrNotFound)
		}
	}
	if len(known) == 0 {
		t.Fatal("the child did nothing")
	}
	// What was not acknowledged is whole or not there.
	err := s.Scrub(t.Context(), 0, func(id placement.ShardID, err error) { t.Errorf("%v: %v", id, err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d shards known, %d live, %+v", len(known), live, s.Usage())
}
