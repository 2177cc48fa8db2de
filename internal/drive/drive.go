package drive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kintsugi/internal/directio"
	"kintsugi/internal/sealed"
)

// Names within a drive directory. The identity is kept twice, so that one damaged block does not cost the drive.
const (
	identityName = "kintsugi.id"
	copyName     = "kintsugi.id.copy"
	birthName    = "kintsugi.birth"
	lockName     = "kintsugi.lock"
)

// ClusterName is the file in which a process of a cluster keeps what it knows of it: also in a directory that is
// no drive yet, and it outlives an interrupted birth.
const ClusterName = "kintsugi.cluster"

// IdentityPath is the file whose absence means that the drive is not there.
func IdentityPath(dir string) string { return filepath.Join(dir, identityName) }

// State is what Probe found at a path.
type State int

const (
	Missing State = iota // no such directory
	Empty                // a directory without content: a new drive
	Birth                // its cluster's birth was cut short: see Identity
	Member               // a drive with a readable identity
	Damaged              // a drive whose identity cannot be read
)

func (s State) String() string {
	return [...]string{"missing", "empty", "birth", "member", "damaged"}[s]
}

// Errors that forbid to touch a directory; they come wrapped with its path and what to do.
var (
	ErrNotADrive = errors.New("not empty and not a Kintsugi drive")
	ErrFuture    = errors.New("made by a newer version of Kintsugi")
	ErrInUse     = errors.New("in use by another process")
)

// Probe looks at dir and changes nothing.
func Probe(dir string) (State, Identity, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Missing, Identity{}, nil
	}
	if err != nil {
		return Missing, Identity{}, fmt.Errorf("drive %s: %w", dir, err)
	}
	id, err := readIdentity(dir, identityName, copyName)
	switch {
	case err == nil:
		return Member, id, nil
	case errors.Is(err, sealed.ErrFuture):
		return Damaged, Identity{}, fmt.Errorf("drive %s: %w: %w", dir, ErrFuture, err)
	case !errors.Is(err, fs.ErrNotExist):
		return Damaged, Identity{}, nil // also what cannot be read at all
	}
	if id, err := readIdentity(dir, birthName); err == nil {
		return Birth, id, nil
	}
	switch {
	case isEmpty(entries):
		return Empty, Identity{}, nil
	case slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == lockName }):
		return Damaged, Identity{}, nil // it was a drive, and lost its identity
	}
	return Missing, Identity{}, fmt.Errorf("drive %s: %w: name an empty directory", dir, ErrNotADrive)
}

// isEmpty lets what a fresh filesystem or an interrupted birth leaves count as nothing.
func isEmpty(entries []fs.DirEntry) bool {
	for _, e := range entries {
		if n := e.Name(); n != "lost+found" && n != lockName && n != birthName && n != ClusterName && !strings.HasPrefix(n, sealed.TempPrefix) {
			return false
		}
	}
	return true
}

// readIdentity returns the first readable one of the named files, else the worst
// of what it met: a future version, damage, absence.
func readIdentity(dir string, names ...string) (Identity, error) {
	worst := error(fs.ErrNotExist)
	for _, name := range names {
		var id Identity
		err := identityKind.Read(filepath.Join(dir, name), &id)
		if err == nil {
			err = id.check()
		}
		if err == nil {
			return id, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(worst, sealed.ErrFuture) {
			worst = err
		}
	}
	return Identity{}, worst
}

// Lock keeps other processes off dir until it is closed. It fails with ErrInUse.
func Lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("drive %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("drive %s: %w", dir, ErrInUse)
	}
	return f, nil
}

// Begin marks dir as part of a birth that is under way: until Commit, a new
// start finds the state Birth and may finish or undo it.
func Begin(dir string, id Identity) error { return writeIdentity(dir, birthName, id) }

// Commit makes dir the drive that id names, durably, and ends its birth.
func Commit(dir string, id Identity) error {
	for _, name := range []string{copyName, identityName} {
		if err := writeIdentity(dir, name, id); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(dir, birthName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("drive %s: %w", dir, err)
	}
	return directio.SyncDir(dir)
}

// Mend writes a missing or damaged copy of the identity again.
func Mend(dir string, id Identity) error {
	for _, name := range []string{copyName, identityName} {
		if _, err := readIdentity(dir, name); err != nil {
			if err := writeIdentity(dir, name, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// Undo empties a directory whose birth was never committed.
func Undo(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := e.Name(); n == birthName || n == lockName || n == ClusterName || n == "lost+found" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(filepath.Join(dir, birthName)) // last: until then the state stays Birth
}

func writeIdentity(dir, name string, id Identity) error {
	if err := identityKind.Write(filepath.Join(dir, name), id); err != nil {
		return fmt.Errorf("drive %s: %w", dir, err)
	}
	return nil
}

// Tidy removes what writes that a crash cut short left behind. The caller holds the lock.
func Tidy(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), sealed.TempPrefix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// Forget removes a directory that holds nothing but what this package left there.
func Forget(dir string) error {
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(dir)
}
