package faultdisk

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// commitAge is how long a change of names may stay undurable if nobody syncs its directory. Real file systems have journals that are
// written every few seconds, too.
const commitAge = 5 * time.Second

// names are the directories of a drive, with what has been made, removed and renamed there since the last sync, so that it can be undone.
type names struct {
	root  string // of the files
	aside string // directory for files without names that may come back

	mu      sync.Mutex // guards all below, and the order of changes
	count   int        // of names ever used in aside
	changes []change   // oldest first
}

// change is one that a power cut may undo.
type change struct {
	at     time.Time
	dirs   []string // whose sync makes it durable
	undo   func() error
	forget func() error // nil: there is nothing to clean up
}

func (n *names) path(name string) string { return filepath.Join(n.root, name) }

// do makes a change. The caller holds mu.
func (n *names) do(act func() error, c change) error {
	if err := act(); err != nil {
		return err
	}
	c.at = time.Now()
	n.changes = append(n.changes, c)
	return nil
}

// create makes a file.
func (n *names) create(name string, flag int, mode uint32) (f *os.File, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	path := n.path(name)
	err = n.do(func() (err error) {
		f, err = os.OpenFile(path, flag|os.O_CREATE|os.O_EXCL, os.FileMode(mode&0o777))
		return err
	}, change{dirs: []string{filepath.Dir(name)}, undo: func() error { return os.Remove(path) }})
	if errors.Is(err, os.ErrExist) && flag&os.O_EXCL == 0 {
		return os.OpenFile(path, flag, 0)
	}
	return f, err
}

func (n *names) mkdir(name string, mode uint32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	path := n.path(name)
	return n.do(func() error { return os.Mkdir(path, os.FileMode(mode&0o777)) },
		change{dirs: []string{filepath.Dir(name)}, undo: func() error { return os.RemoveAll(path) }})
}

func (n *names) rmdir(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	path := n.path(name)
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return n.do(func() error { return unix.Rmdir(path) },
		change{dirs: []string{filepath.Dir(name)}, undo: func() error { return os.Mkdir(path, info.Mode().Perm()) }})
}

func (n *names) unlink(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	path, kept, err := n.keep(name)
	if err != nil {
		return err
	}
	return n.do(func() error { return unix.Unlink(path) },
		change{dirs: []string{filepath.Dir(name)}, undo: func() error { return os.Rename(kept, path) }, forget: func() error { return os.Remove(kept) }})
}

// keep gives a file a second name, by which it can come back. The caller holds mu.
func (n *names) keep(name string) (path, kept string, err error) {
	n.count++
	path, kept = n.path(name), filepath.Join(n.aside, strconv.Itoa(n.count))
	return path, kept, os.Link(path, kept)
}

func (n *names) rename(from, to string, flags uint) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	dirs := []string{filepath.Dir(from), filepath.Dir(to)}
	info, err := os.Lstat(n.path(from))
	if err != nil {
		return err
	}
	rename := func() error { return unix.Renameat2(unix.AT_FDCWD, n.path(from), unix.AT_FDCWD, n.path(to), flags) }
	c := change{dirs: dirs, undo: func() error { return os.Rename(n.path(to), n.path(from)) }}
	switch _, err := os.Lstat(n.path(to)); {
	case flags&^unix.RENAME_NOREPLACE != 0:
		return unix.EINVAL
	case info.IsDir():
		// The names in other changes would not be true any more.
		if err := rename(); err != nil {
			return err
		}
		return n.forget(len(n.changes))
	case err == nil && flags == 0:
		path, kept, err := n.keep(to)
		if err != nil {
			return err
		}
		c.undo = func() error { return errors.Join(os.Rename(path, n.path(from)), os.Rename(kept, path)) }
		c.forget = func() error { return os.Remove(kept) }
	}
	return n.do(rename, c)
}

// sync syncs a directory. The changes in it that had been made before are durable then.
func (n *names) sync(dir string, do func() error) error {
	began := time.Now()
	if err := do(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var left []change
	var errs error
	for _, c := range n.changes {
		if c.at.After(began) || !c.isIn(dir) {
			left = append(left, c)
			continue
		}
		errs = errors.Join(errs, c.close())
	}
	n.changes = left
	return errs
}

func (c *change) isIn(dir string) bool {
	for _, d := range c.dirs {
		if d == dir {
			return true
		}
	}
	return false
}

func (c *change) close() error {
	if c.forget == nil {
		return nil
	}
	return c.forget()
}

// age makes changes durable that nobody has synced for long.
func (n *names) age() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for count < len(n.changes) && time.Since(n.changes[count].at) > commitAge {
		count++
	}
	return n.forget(count)
}

// forget makes the oldest changes durable. The caller holds mu.
func (n *names) forget(count int) (errs error) {
	for _, c := range n.changes[:count] {
		errs = errors.Join(errs, c.close())
	}
	n.changes = n.changes[count:]
	return errs
}

// cut is the power cut: the last changes are undone, all of them or, with chance, as many as the disk had not come to.
func (n *names) cut(chance *rand.Rand) (errs error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	kept := 0
	if chance != nil && chance.IntN(2) == 0 {
		kept = chance.IntN(len(n.changes) + 1)
	}
	for i := len(n.changes) - 1; i >= kept; i-- {
		errs = errors.Join(errs, n.changes[i].undo())
	}
	n.changes = n.changes[:kept]
	return errors.Join(errs, n.forget(kept))
}
