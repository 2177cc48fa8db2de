package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"kintsugi/internal/directio"
	"kintsugi/internal/drive"
	"kintsugi/meta/replica"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// shardsName is the directory of the shard store within a drive.
const shardsName = "shards"

// bay is the place of one drive: a directory that the operator named. The drive
// in it may go, and another may come.
type bay struct {
	dir       string
	id        drive.Identity // of the drive in it; or of the last, if gone
	lock      *os.File
	inode     uint64            // of the directory, while a drive is in it
	store     *shardstore.Store // nil where the drive keeps only metadata
	fresh     bool              // the drive was made by this process
	condemned condemned
}

// condemned is a directory that could not be used. It is left alone for a while, longer each time;
// another directory in its place, or one that has been emptied since, is looked at at once.
type condemned struct {
	inode uint64
	empty bool // it was
	until time.Time
	pause time.Duration
}

const (
	firstPause = 10 * time.Second
	lastPause  = 10 * time.Minute
)

// condemn leaves the directory alone for a while.
func (b *bay) condemn() {
	c := condemned{inode: inodeOf(b.dir), empty: isEmpty(b.dir), pause: firstPause}
	if c.inode == b.condemned.inode {
		c.pause = min(max(2*b.condemned.pause, firstPause), lastPause)
	}
	c.until = time.Now().Add(c.pause)
	b.condemned = c
}

// isCondemned tells whether the directory with this inode is to be left alone.
func (b *bay) isCondemned(inode uint64) bool {
	c := b.condemned
	return inode == c.inode && time.Now().Before(c.until) && (c.empty || !isEmpty(b.dir))
}

// isEmpty tells whether dir is one that a new drive may be made of.
func isEmpty(dir string) bool {
	state, _, err := drive.Probe(dir)
	return err == nil && state == drive.Empty
}

func (b *bay) driveID() placement.DriveID { return placement.DriveID(b.id.Drive) }

func (b *bay) replicaDrive() replica.Drive { return replica.Drive{ID: b.driveID(), Dir: b.dir} }

func (b *bay) isOpen() bool { return b.lock != nil }

func dirsOf(bays []*bay) []string {
	dirs := make([]string, len(bays))
	for i, b := range bays {
		dirs[i] = b.dir
	}
	return dirs
}

// inodeOf returns 0 if there is no such directory.
func inodeOf(dir string) uint64 {
	info, err := os.Stat(dir)
	if err != nil {
		return 0
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// open begins to use the drive that is in the bay, which id names; with cfg its shard store, too.
func (b *bay) open(id drive.Identity, cfg *shardstore.Config) (err error) {
	lock, err := drive.Lock(b.dir)
	if err != nil {
		return err
	}
	if err := drive.Tidy(b.dir); err != nil {
		return errors.Join(fmt.Errorf("drive %s: %w", b.dir, err), lock.Close())
	}
	var store *shardstore.Store
	if cfg != nil {
		if store, err = shardstore.Open(filepath.Join(b.dir, shardsName), *cfg); err != nil {
			return errors.Join(fmt.Errorf("drive %s: %w", b.dir, err), lock.Close())
		}
	}
	b.id, b.lock, b.store, b.inode = id, lock, store, inodeOf(b.dir)
	return nil
}

// trouble tells why the drive in the bay cannot go on, or nil.
func (b *bay) trouble() error {
	if b.store != nil {
		select {
		case <-b.store.Failed():
			return b.store.Err()
		default:
		}
	}
	if inodeOf(b.dir) != b.inode {
		return errGone
	}
	if _, err := os.Stat(drive.IdentityPath(b.dir)); err != nil {
		return errGone
	}
	return nil
}

var (
	errGone       = errors.New("the directory is gone or another")
	errForeign    = errors.New("the directory belongs to another cluster")
	errNoIdentity = errors.New("both copies of its identity are damaged or gone")
	errTwice      = errors.New("the drive is in use elsewhere: this one is a copy")
)

// close ends the use of the drive in the bay.
func (b *bay) close() error {
	if !b.isOpen() {
		return nil
	}
	var err error
	if b.store != nil {
		err = b.store.Close()
	}
	err = errors.Join(err, b.lock.Close())
	b.store, b.lock = nil, nil
	return err
}

// segmentSize is the size of segment files on the filesystem of dir, in bytes: the
// default on large ones, less where a few segments would fill it.
func segmentSize(dir string) int64 {
	const smallest, largest = 4 << 20, 256 << 20
	space, err := directio.SpaceAt(dir)
	if err != nil {
		return largest
	}
	return min(max(space.Size/32&^(1<<20-1), smallest), largest)
}
