package faultdisk

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serverName in the environment makes the test's binary serve drives.
const serverName = "FAULTDISK_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverName) == "" {
		os.Exit(m.Run())
	}
	if err := Serve(Pipes{os.Stdin, os.Stdout}); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

// drive is a mounted one in a test.
type drive struct {
	*testing.T
	drives *Drives
	dir    string
}

// start starts the process, or skips the test.
func start(t *testing.T) *Drives {
	t.Helper()
	t.Setenv(serverName, "1")
	drives, err := Start(os.Stderr, os.Args[0])
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := drives.Close(); err != nil {
			t.Error(err)
		}
	})
	return drives
}

// newDrive mounts a directory of its own that has a file already, or skips the test.
func newDrive(t *testing.T) drive {
	dir := t.TempDir() // removed after the process has ended
	return mountIn(t, start(t), filepath.Join(dir, "drive"))
}

func mountIn(t *testing.T, drives *Drives, dir string) drive {
	t.Helper()
	d := drive{T: t, drives: drives, dir: dir}
	for _, name := range []string{"shards", "meta"} {
		d.must(os.MkdirAll(d.path(name), 0o700))
	}
	d.must(os.WriteFile(d.path("shards/old"), []byte("0123456789"), 0o600))
	if err := drives.Mount(dir); err != nil {
		t.Skip(err)
	}
	return d
}

func (d drive) path(name string) string { return filepath.Join(d.dir, name) }

func (d drive) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d drive) open(name string) *os.File {
	d.Helper()
	f, err := os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	d.must(err)
	return f
}

// write writes a file and does to it what is wanted before it is closed.
func (d drive) write(name, text string, off int64, then ...func(*os.File) error) {
	d.Helper()
	f := d.open(name)
	_, err := f.WriteAt([]byte(text), off)
	d.must(err)
	for _, act := range then {
		d.must(act(f))
	}
	d.must(f.Close())
}

func (d drive) syncDir(name string) {
	d.Helper()
	f, err := os.Open(d.path(name))
	d.must(err)
	d.must(f.Sync())
	d.must(f.Close())
}

// has checks what is in files; "-": they are not there.
func (d drive) has(want map[string]string) {
	d.Helper()
	for name, text := range want {
		got, err := os.ReadFile(d.path(name))
		if errors.Is(err, os.ErrNotExist) {
			got, err = []byte("-"), nil
		}
		if err != nil || string(got) != text {
			d.Errorf("%s is %q, %v, want %q", name, got, err, text)
		}
	}
}

func (d drive) set(f Faults) {
	d.Helper()
	d.must(d.drives.Set(d.dir, f, 1))
}

func syncFile(f *os.File) error { return f.Sync() }

func TestPassesThrough(t *testing.T) {
	d := newDrive(t)
	d.write("shards/new", "new", 0, syncFile)
	d.has(map[string]string{"shards/old": "0123456789", "shards/new": "new"})
	d.must(os.Rename(d.path("shards/new"), d.path("shards/old")))
	d.must(os.MkdirAll(d.path("a/b"), 0o700))
	d.must(os.Truncate(d.path("shards/old"), 2))
	d.has(map[string]string{"shards/old": "ne", "shards/new": "-"})
	d.must(os.RemoveAll(d.path("a")))
	entries, err := os.ReadDir(d.dir)
	if len(entries) != 2 || err != nil {
		t.Errorf("got %v, %v", entries, err)
	}
	info, err := os.Stat(d.path("shards"))
	if err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}

// What the stores ask of a file system.
func TestSyscalls(t *testing.T) {
	d := newDrive(t)
	root, err := os.OpenRoot(d.path("shards"))
	d.must(err)
	defer root.Close()
	f, err := root.OpenFile("seg", os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_DIRECT, 0o600)
	d.must(err)
	defer f.Close()
	fd := int(f.Fd())
	d.must(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB))
	d.must(unix.Fallocate(fd, 0, 0, 1<<20))
	page, err := unix.Mmap(-1, 0, 8<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	d.must(err)
	copy(page, bytes.Repeat([]byte{7}, len(page)))
	_, err = unix.Pwritev(fd, [][]byte{page[:4<<10], page[4<<10:]}, 256<<10)
	d.must(err)
	d.must(unix.Fdatasync(fd))
	if at, err := unix.Seek(fd, 0, unix.SEEK_DATA); at != 256<<10 || err != nil {
		t.Errorf("data begins at %d, %v", at, err)
	}
	r, err := root.Open("seg")
	d.must(err)
	defer r.Close()
	got := make([]byte, 8<<10)
	if _, err := r.ReadAt(got, 256<<10); err != nil || !slices.Equal(got, page) {
		t.Errorf("it is read wrongly: %v", err)
	}
	d.must(unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 256<<10, 4<<10))
	if _, err := r.ReadAt(got[:1], 256<<10); err != nil || got[0] != 0 {
		t.Errorf("a hole reads as %d, %v", got[0], err)
	}
	var space unix.Statfs_t
	if err := unix.Fstatfs(fd, &space); err != nil || space.Bavail == 0 {
		t.Errorf("%d blocks are free, %v", space.Bavail, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink != 1 || st.Size != 1<<20 {
		t.Errorf("it has %d names and %d bytes, %v", st.Nlink, st.Size, err)
	}
	d.must(root.Remove("seg"))
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink != 0 {
		t.Errorf("removed, it has %d names, %v", st.Nlink, err)
	}
}

func TestErrorsAndDelay(t *testing.T) {
	d := newDrive(t)
	f := d.open("shards/old")
	defer f.Close()
	other := d.open("meta/x")
	defer other.Close()
	calls := map[string]func(*os.File) error{
		"read":  func(f *os.File) error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
		"write": func(f *os.File) error { _, err := f.WriteAt([]byte("0"), 0); return err },
		"sync":  syncFile,
	}
	d.must(calls["write"](other))
	for _, c := range []struct {
		name   string
		faults Faults
		fail   string // the calls on files in shards that do
		slow   time.Duration
	}{
		{"well", Faults{}, "", 0},
		{"slow", Faults{Delay: 60 * time.Millisecond}, "", 60 * time.Millisecond},
		{"reads", Faults{ReadErrors: 1, Where: "shards"}, "read", 0},
		{"writes", Faults{WriteErrors: 1, Where: "shards"}, "write sync", 0},
		{"elsewhere", Faults{ReadErrors: 1, WriteErrors: 1, Where: "shard"}, "", 0},
		{"well again", Faults{}, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.set(c.faults)
			for name, call := range calls {
				began := time.Now()
				err := call(f)
				if failed := errors.Is(err, syscall.EIO); failed != strings.Contains(c.fail, name) || err != nil && !failed {
					t.Errorf("%s: %v", name, err)
				}
				if took := time.Since(began); took < c.slow {
					t.Errorf("%s took %s", name, took)
				}
				if err := call(other); err != nil {
					t.Errorf("%s of another file: %v", name, err)
				}
			}
		})
	}
	d.set(Faults{ReadErrors: 0.3})
	failed := 0
	for range 300 {
		if calls["read"](f) != nil {
			failed++
		}
	}
	if failed < 50 || failed > 150 {
		t.Errorf("%d of 300 reads failed, want about 90", failed)
	}
}

func TestStrayWrites(t *testing.T) {
	d := newDrive(t)
	const pages = 64
	f := d.open("shards/old")
	defer f.Close()
	other := d.open("meta/x")
	defer other.Close()
	page := func(letter string) []byte { return bytes.Repeat([]byte(letter), pageSize) }
	for _, c := range []struct {
		name       string
		faults     Faults
		stale, hit int // pages that were written and are not there, and those that were not and are
	}{
		{"well", Faults{}, 0, 0},
		{"lost", Faults{Lost: 3, Where: "shards"}, 3, 0},
		{"misdirected", Faults{Misdirected: 1, Where: "shards"}, 1, 1},
		{"enough", Faults{}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range int64(2 * pages) {
				_, err := f.WriteAt(page("a"), i*pageSize)
				d.must(err)
			}
			d.set(c.faults)
			for i := range int64(pages) {
				_, err := f.WriteAt(page("b"), (pages+i)*pageSize)
				d.must(err)
				_, err = other.WriteAt(page("b"), i*pageSize)
				d.must(err)
			}
			got, err := os.ReadFile(d.path("shards/old"))
			d.must(err)
			// A misdirected page may hit one of those that were written, where it is not seen.
			stale, hit := bytes.Count(got[pages*pageSize:], page("a")), bytes.Count(got[:pages*pageSize], page("b"))
			if stale != c.stale || hit > c.hit {
				t.Errorf("%d pages are stale and %d are hit", stale, hit)
			}
			if got, err := os.ReadFile(d.path("meta/x")); err != nil || bytes.Count(got, []byte("b")) != pages*pageSize {
				t.Errorf("another file suffers, too: %v", err)
			}
		})
	}
}

func TestLeavesNothingMounted(t *testing.T) {
	d := newDrive(t)
	d.write("shards/old", "abc", 3)
	d.must(d.drives.Close())
	d.has(map[string]string{"shards/old": "012abc6789"})
	if _, err := os.Stat(d.dir + underSuffix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory beside is left: %v", err)
	}
	again, err := Start(os.Stderr, os.Args[0])
	d.must(err)
	d.must(again.Mount(d.dir))
	*d.drives = *again // closed at the end
}

func TestKilled(t *testing.T) {
	t.Setenv(serverName, "1")
	dir := filepath.Join(t.TempDir(), "drive")
	drives, err := Start(os.Stderr, os.Args[0])
	if err != nil {
		t.Skip(err)
	}
	d := mountIn(t, drives, dir)
	d.must(drives.process.Process.Kill())
	if err := drives.Close(); err == nil {
		t.Error("nobody says that it was killed")
	}
	if _, err := os.ReadDir(dir); err != nil {
		t.Errorf("something is still mounted: %v", err)
	}
}

func TestCannot(t *testing.T) {
	if _, err := Start(os.Stderr, "/nonexistent"); err == nil {
		t.Error("a process was started that is not there")
	}
	t.Setenv(serverName, "1")
	drives, err := Start(os.Stderr, os.Args[0])
	if err != nil {
		t.Skip(err)
	}
	if err := drives.Mount(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("what is not there was mounted")
	}
	if err := drives.Set("/", Faults{}, 0); err == nil {
		t.Error("what is not mounted was made ill")
	}
	if err := drives.Close(); err != nil {
		var exit *exec.ExitError
		t.Errorf("%v %v", err, errors.As(err, &exit))
	}
}
