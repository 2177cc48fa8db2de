package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

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
	dir   string
	id    drive.Identity // of the drive in it; or of the last, if gone
	lock  *os.File
	inode uint64 // of the directory, while a drive is in it
	store *shardstore.Store
	// condemned is the inode of a directory whose drive failed while it was there: it is
	// not used again before it has been away or replaced.
	condemned uint64
}

func (b *bay) driveID() placement.DriveID { return placement.DriveID(b.id.Drive) }

func (b *bay) replicaDrive() replica.Drive { return replica.Drive{ID: b.driveID(), Dir: b.dir} }

func (b *bay) isOpen() bool { return b.store != nil }

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

// open starts the shard store of the drive that is in the bay, which id names.
func (b *bay) open(id drive.Identity, cfg shardstore.Config) (err error) {
	lock, err := drive.Lock(b.dir)
	if err != nil {
		return err
	}
	store, err := shardstore.Open(filepath.Join(b.dir, shardsName), cfg)
	if err != nil {
		return errors.Join(fmt.Errorf("drive %s: %w", b.dir, err), lock.Close())
	}
	b.id, b.lock, b.store, b.inode, b.condemned = id, lock, store, inodeOf(b.dir), 0
	return nil
}

// trouble tells why the drive in the bay cannot go on, or nil.
func (b *bay) trouble() error {
	select {
	case <-b.store.Failed():
		return b.store.Err()
	default:
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
	errGone    = errors.New("the directory is gone or another")
	errForeign = errors.New("the directory belongs to another cluster")
	errTwice   = errors.New("the drive is in use in another directory: this one is a copy")
)

// close ends the use of the drive in the bay.
func (b *bay) close() error {
	if !b.isOpen() {
		return nil
	}
	err := errors.Join(b.store.Close(), b.lock.Close())
	b.store, b.lock = nil, nil
	return err
}

// segmentSize is the size of segment files on the filesystem of dir, in bytes: the
// default on large ones, less where a few segments would fill it.
func segmentSize(dir string) int64 {
	const smallest, largest = 4 << 20, 256 << 20
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return largest
	}
	size := int64(fs.Blocks) * fs.Bsize / 32
	return min(max(size&^(1<<20-1), smallest), largest)
}
