package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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

// Any two of six drive directories are removed under load, given back empty, and filled again.
func TestAnyTwoOfSixDrivesMayDie(t *testing.T) {
	p := startProcess(t, tempDrives(t, 6))
	w := newWorkload(t, p.client(), 24)
	w.start(4)
	for _, pair := range pairs() {
		for _, i := range pair {
			removeDrive(t, p.dirs[i])
		}
		w.ran(100)
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
	w := newWorkload(t, p.client(), 24)
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
			w := newWorkload(t, p.client(), 24)
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
			w.ran(100)
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
			w := newWorkload(t, p.client(), 12)
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
	w := newWorkload(t, p.client(), 24)
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
	w := newWorkload(t, p.client(), 24)
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
	w := newWorkload(t, p.client(), 24)
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
	w := newWorkload(t, p.client(), 24)
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
	w := newWorkload(t, p.client(), 12)
	p.stop()
	p.start()
	w.client = p.client()
	w.checkAll()
}

// A server that is started with two directories more grows by them: they get their share under load, and one of
// them that goes for good is given up, its shards rebuilt on the others.
func TestServerGrowsAndGivesUp(t *testing.T) {
	p := startProcess(t, tempDrives(t, 6), "--out-after", "2s")
	w := newWorkload(t, p.client(), 24)
	p.stop()
	p.dirs = append(p.dirs, tempDrives(t, 2)...)
	for _, dir := range p.dirs[6:] {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p.start()
	w.client = p.client()
	w.start(2)
	poll(t, 2*time.Minute, "the new drives hold shards, and all chunks are whole", func() bool {
		s, _ := p.status()
		return s.isWhole() && s.Drives[6].Used > 0 && s.Drives[7].Used > 0
	})
	removeDrive(t, p.dirs[7])
	poll(t, 2*time.Minute, "all chunks are whole without the lost drive", func() bool {
		s, _ := p.status()
		if len(s.Drives) < 8 || s.Drives[7].State != "lost" {
			return false
		}
		s.Drives = s.Drives[:7]
		return s.isWhole()
	})
	w.end()
	w.checkAll()
}
