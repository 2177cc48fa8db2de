package raftgroup

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sys/unix"

	"kintsugi/internal/directio"
)

func testLogConfig(dir string) logConfig {
	return logConfig{
		dir: dir, host: 9, groups: 2, segmentBytes: 64 << 10, limitBytes: 512 << 10,
		logger: slog.New(slog.DiscardHandler), disk: realDisk(),
	}
}

func openTestLog(t *testing.T, dir string) *diskLog {
	t.Helper()
	l, doubtful, err := openLog(testLogConfig(dir))
	must(t, err)
	if doubtful {
		t.Fatal("tail doubtful")
	}
	if l.empty() {
		l.begin()
		for _, g := range l.groups {
			g.startAt(0, 0)
			must(t, l.addState(g))
		}
		must(t, l.commit(0))
	}
	return l
}

func entry(index, term uint64, data string) *raftpb.Entry {
	return &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Index: &index, Term: &term, Data: []byte(data)}
}

// appendOne writes a batch with one entry.
func appendOne(t *testing.T, l *diskLog, group int, e *raftpb.Entry) {
	t.Helper()
	l.begin()
	l.addEntry(l.groups[group], e)
	must(t, l.commit(0))
}

func wantEntries(t *testing.T, l *diskLog, group int, lo uint64, want ...string) {
	t.Helper()
	got, err := l.groups[group].Entries(lo, lo+uint64(len(want)), 1<<30)
	must(t, err)
	if len(got) != len(want) || l.groups[group].last() != lo+uint64(len(want))-1 {
		t.Fatalf("group %d has %d entries up to %d, want %d", group, len(got), l.groups[group].last(), len(want))
	}
	for i, e := range got {
		if string(e.GetData()) != want[i] || e.GetIndex() != lo+uint64(i) {
			t.Errorf("group %d entry %d: %q", group, e.GetIndex(), e.GetData())
		}
	}
}

func TestLogReopen(t *testing.T) {
	dir := t.TempDir()
	l := openTestLog(t, dir)
	appendOne(t, l, 0, entry(1, 1, "a"))
	appendOne(t, l, 1, entry(1, 1, "A"))
	appendOne(t, l, 0, entry(2, 1, "b"))
	appendOne(t, l, 0, entry(3, 1, "c"))
	appendOne(t, l, 0, entry(2, 2, "B2")) // a conflict drops b and c
	l.begin()
	l.addHardState(l.groups[0], &raftpb.HardState{Term: new(uint64(2)), Vote: new(uint64(5)), Commit: new(uint64(1))})
	must(t, l.commit(0))
	must(t, l.close(true))
	for _, clean := range []bool{true, false} {
		l = openTestLog(t, dir)
		wantEntries(t, l, 0, 1, "a", "B2")
		wantEntries(t, l, 1, 1, "A")
		hs, _, _ := l.groups[0].InitialState()
		if hs.GetTerm() != 2 || hs.GetVote() != 5 || hs.GetCommit() != 1 {
			t.Errorf("hard state %v", hs)
		}
		if term, err := l.groups[0].Term(2); term != 2 || err != nil {
			t.Errorf("term %d, %v", term, err)
		}
		if _, err := l.groups[0].Term(3); !errors.Is(err, raft.ErrUnavailable) {
			t.Errorf("term past the end: %v", err)
		}
		must(t, l.close(clean))
	}
}

// TestLogShorten fills many segments and checks that the dropped ones are recycled and nothing else is missing.
func TestLogShorten(t *testing.T) {
	dir := t.TempDir()
	l := openTestLog(t, dir)
	appendOne(t, l, 1, entry(1, 1, "quiet"))
	big := string(bytes.Repeat([]byte("x"), 3000))
	synced := uint64(0)
	for i := uint64(1); i <= 1000; i++ {
		appendOne(t, l, 0, entry(i, 1, big))
		if i%100 == 0 {
			synced = i
		}
		_, can := l.droppable(func(g int) uint64 {
			if g == 1 {
				return 1
			}
			return synced
		})
		must(t, l.drop(can))
	}
	if n := l.bytes(); n > 3*l.limitBytes {
		t.Errorf("log takes %d bytes", n)
	}
	first, last := l.groups[0].start, l.groups[0].last()
	if first == 0 || first > 1000 || last != 1000 {
		t.Errorf("log from %d to %d", first, last)
	}
	if _, err := l.groups[0].Entries(first, first+1, 1); !errors.Is(err, raft.ErrCompacted) {
		t.Errorf("dropped entry: %v", err)
	}
	must(t, l.close(false))
	l = openTestLog(t, dir)
	if l.groups[0].start != first || l.groups[0].last() != last || l.groups[1].last() != 1 {
		t.Errorf("reopened from %d to %d, want %d to %d", l.groups[0].start, l.groups[0].last(), first, last)
	}
	got, err := l.groups[0].Entries(first+1, last+1, 1<<30)
	must(t, err)
	for _, e := range got {
		if string(e.GetData()) != big {
			t.Fatalf("entry %d differs", e.GetIndex())
		}
	}
	must(t, l.close(true))
}

// writeTestLog makes a log of some batches, not closed, and returns the offsets of its batches in the one segment.
func writeTestLog(t *testing.T, dir string) (path string, offsets []int64) {
	l := openTestLog(t, dir)
	for i := uint64(1); i <= 5; i++ {
		offsets = append(offsets, l.end)
		appendOne(t, l, 0, entry(i, 1, string(bytes.Repeat([]byte{byte(i)}, 5000))))
	}
	offsets = append(offsets, l.end)
	path = l.segments[0].path
	must(t, l.close(false))
	return path, offsets
}

func TestLogDamage(t *testing.T) {
	const body = batchHeaderSize + recordHeaderSize + 100
	tests := []struct {
		name         string
		harm         func(t *testing.T, path string, at []int64)
		wantErr      error
		wantDoubtful bool
		wantLast     uint64
	}{
		{"none", func(*testing.T, string, []int64) {}, nil, false, 5},
		{"header of the first", func(t *testing.T, p string, _ []int64) { flip(t, p, 20) }, ErrDamaged, false, 0},
		{"magic in the middle", func(t *testing.T, p string, at []int64) { flip(t, p, at[2]) }, ErrDamaged, false, 0},
		{"length in the middle", func(t *testing.T, p string, at []int64) { flip(t, p, at[2]+9) }, ErrDamaged, false, 0},
		{"data in the middle", func(t *testing.T, p string, at []int64) { flip(t, p, at[2]+body) }, ErrDamaged, false, 0},
		{"record header in the middle", func(t *testing.T, p string, at []int64) { flip(t, p, at[1]+batchHeaderSize+17) }, ErrDamaged, false, 0},
		{"middle zeroed", func(t *testing.T, p string, at []int64) { zero(t, p, at[2], at[3]-at[2]) }, ErrDamaged, false, 0},
		{"data of the last", func(t *testing.T, p string, at []int64) { flip(t, p, at[4]+body) }, nil, true, 4},
		{"magic of the last", func(t *testing.T, p string, at []int64) { flip(t, p, at[4]) }, nil, true, 4},
		{"second half of the last torn", func(t *testing.T, p string, at []int64) { zero(t, p, at[4]+4096, 4096) }, nil, true, 4},
		{"behind the last", func(t *testing.T, p string, at []int64) { flip(t, p, at[5]+3) }, nil, true, 5},
		{"last never written", func(t *testing.T, p string, at []int64) { zero(t, p, at[4], at[5]-at[4]) }, nil, false, 4},
		{"file cut at a batch", func(t *testing.T, p string, at []int64) { must(t, os.Truncate(p, at[4])) }, nil, true, 4},
		{"file cut in a batch", func(t *testing.T, p string, at []int64) { must(t, os.Truncate(p, at[4]+4096)) }, nil, true, 4},
		{"file cut within a block", func(t *testing.T, p string, at []int64) { must(t, os.Truncate(p, at[4]+100)) }, ErrDamaged, false, 0},
		{"version from the future", func(t *testing.T, p string, at []int64) { rewriteVersion(t, p, at[1]) }, ErrForeign, false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path, at := writeTestLog(t, dir)
			tt.harm(t, path, at)
			l, doubtful, err := openLog(testLogConfig(dir))
			if !errors.Is(err, tt.wantErr) || (tt.wantErr == nil && err != nil) {
				t.Fatalf("error %v, want %v", err, tt.wantErr)
			}
			if err != nil {
				return
			}
			if doubtful != tt.wantDoubtful || l.groups[0].last() != tt.wantLast {
				t.Errorf("doubtful %v, last %d", doubtful, l.groups[0].last())
			}
			// What was cut is not found again.
			appendOne(t, l, 0, entry(tt.wantLast+1, 2, "after"))
			must(t, l.close(false))
			l = openTestLog(t, dir)
			if l.groups[0].last() != tt.wantLast+1 {
				t.Errorf("last %d after the cut", l.groups[0].last())
			}
			must(t, l.close(true))
		})
	}
}

func zero(t *testing.T, path string, off, n int64) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(make([]byte, n), off)
	must(t, err)
}

func rewriteVersion(t *testing.T, path string, off int64) {
	p, err := os.ReadFile(path)
	must(t, err)
	h, err := decodeBatchHeader(p[off:])
	must(t, err)
	h.encode(p[off:])
	p[off+4] = 99
	reseal(p[off:])
	must(t, os.WriteFile(path, p, 0o600))
}

// TestLogMarks checks that an idle log proves its last batch, so that a flipped bit in it is damage.
func TestLogMarks(t *testing.T) {
	dir := t.TempDir()
	l := openTestLog(t, dir)
	appendOne(t, l, 0, entry(1, 1, "a"))
	last := l.end - directio.BlockSize
	must(t, l.mark())
	must(t, l.mark())
	if l.end != last+2*directio.BlockSize {
		t.Errorf("%d bytes of marks", l.end-last-directio.BlockSize)
	}
	path := l.segments[0].path
	must(t, l.close(false))
	flip(t, path, last+batchHeaderSize+5)
	if _, _, err := openLog(testLogConfig(dir)); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened: %v", err)
	}
}

// TestLogReadsBack pages entries that are not in memory any more, and notices what happened to them on disk.
func TestLogReadsBack(t *testing.T) {
	l := openTestLog(t, t.TempDir())
	defer l.close(false)
	l.limitBytes = 1 << 30
	data := string(bytes.Repeat([]byte("y"), 20000))
	for i := uint64(1); i <= 200; i++ {
		appendOne(t, l, 0, entry(i, 1, data))
	}
	g := l.groups[0]
	if len(g.cache) > 60 {
		t.Errorf("%d entries in memory", len(g.cache))
	}
	got, err := g.Entries(1, 201, 1<<30)
	must(t, err)
	for i, e := range got {
		if e.GetIndex() != uint64(i+1) || string(e.GetData()) != data {
			t.Fatalf("entry %d differs", i+1)
		}
	}
	if some, _ := g.Entries(1, 201, 50000); len(some) != 2 {
		t.Errorf("%d entries within 50000 bytes", len(some))
	}
	var reported error
	g.onError = func(err error) { reported = err }
	r := g.refs[9]
	flip(t, r.segment.path, int64(r.offset)+500)
	if _, err := g.Entries(10, 11, 1<<30); !errors.Is(err, ErrDamaged) || !errors.Is(reported, ErrDamaged) {
		t.Errorf("damaged entry: %v, reported %v", err, reported)
	}
}

func TestLogDiskFaults(t *testing.T) {
	for _, fault := range []error{unix.EIO, unix.ENOSPC} {
		t.Run(fault.Error(), func(t *testing.T) {
			l := openTestLog(t, t.TempDir())
			defer l.close(false)
			l.disk.sync = func(*os.File) error { return fault }
			l.begin()
			l.addEntry(l.groups[0], entry(1, 1, "a"))
			if err := l.commit(0); !errors.Is(err, fault) {
				t.Errorf("commit: %v", err)
			}
			if l.groups[0].last() != 0 {
				t.Error("entry counts although it was not synced")
			}
		})
	}
}

// TestLogFullDisk checks that the want of room shows one segment ahead.
func TestLogFullDisk(t *testing.T) {
	l := openTestLog(t, t.TempDir())
	defer l.close(false)
	l.collectSpare(true)
	l.disk.spare = func(string, uint64, int64) (spare, error) { return spare{}, unix.ENOSPC }
	index := uint64(1)
	for ; !l.full; index++ {
		appendOne(t, l, 0, entry(index, 1, string(make([]byte, 9000))))
		if len(l.segments) > 1 {
			l.prepareSpare()
			l.collectSpare(true)
		}
	}
	l.begin()
	l.addEntry(l.groups[0], entry(index, 1, "there is still room"))
	must(t, l.commit(0))
	must(t, l.drop(1))
	if len(l.spares) != 1 {
		t.Errorf("%d spares after a segment was dropped", len(l.spares))
	}
}
