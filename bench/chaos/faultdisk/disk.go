package faultdisk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A drive's files are beside the directory where they are seen, with the files that may come back.
const (
	underSuffix = ".under"
	filesName   = "files"
	asideName   = "aside"
)

// disk is a drive that can be ill.
type disk struct {
	dir    string // where its files are seen
	names  *names
	health health
	server *fuse.Server

	mu    sync.Mutex // guards files
	files map[identity]*unsynced
}

// mount puts the file system in the place of a directory; what is there stays visible.
func mount(dir string) (d *disk, err error) {
	under := dir + underSuffix
	d = &disk{dir: dir, names: &names{root: filepath.Join(under, filesName), aside: filepath.Join(under, asideName)}, files: map[identity]*unsynced{}}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.names.aside, 0o700); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Rename(dir, d.names.root), os.Mkdir(dir, info.Mode().Perm())); err != nil {
		return nil, err
	}
	if err := d.attach(); err != nil {
		return nil, errors.Join(err, d.giveBack())
	}
	return d, nil
}

// unmount lets the files be seen without the file system.
func (d *disk) unmount() error { return errors.Join(d.detach(), d.giveBack()) }

func (d *disk) giveBack() error {
	return errors.Join(os.Remove(d.dir), os.Rename(d.names.root, d.dir), os.RemoveAll(filepath.Dir(d.names.root)))
}

// cacheTime is how long the kernel may remember names and attributes: only who asks through it changes them.
const cacheTime = time.Minute

// maxRequest is the size of the largest read or write, in bytes.
const maxRequest = 1 << 20

func (d *disk) attach() error {
	info, err := os.Stat(d.names.root)
	if err != nil {
		return err
	}
	cache := cacheTime
	d.server, err = fs.Mount(d.dir, &node{disk: d}, &fs.Options{
		EntryTimeout: &cache, AttrTimeout: &cache, NullPermissions: true,
		RootStableAttr: &fs.StableAttr{Ino: info.Sys().(*syscall.Stat_t).Ino},
		MountOptions: fuse.MountOptions{AllowOther: true, DirectMountStrict: true, MaxWrite: maxRequest, MaxBackground: 64, FsName: d.names.root,
			Name: "faultdisk", DisableXAttrs: true},
	})
	return err
}

// detachTime bounds how long the last answers may take.
const detachTime = 5 * time.Second

var errInUse = errors.New("somebody still has files of it open")

// detach takes the file system away. It ends when nobody has a file open any more.
func (d *disk) detach() error {
	d.health.set(Faults{}, 0) // nobody waits for it any longer
	if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", d.dir, err)
	}
	done := make(chan struct{})
	go func() {
		d.server.Wait()
		close(done)
	}()
	timer := time.NewTimer(detachTime)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("unmount %s: %w", d.dir, errInUse)
	}
}

// unsyncedOf is what has become of a file since its last sync, whoever has it open.
func (d *disk) unsyncedOf(id identity) *unsynced {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.files[id]
	if u == nil {
		u = &unsynced{}
		d.files[id] = u
	}
	return u
}

// tidy makes durable what a real file system would have made so by now.
func (d *disk) tidy() syscall.Errno {
	if d.health.now().LostSyncs {
		return fs.OK
	}
	return fs.ToErrno(d.names.age())
}

// cut is what a power cut does to the drive. Nobody may use it meanwhile. All that was not synced is lost, or with chance what the drive had not
// come to.
func (d *disk) cut(chance *rand.Rand) error {
	if err := d.detach(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs error
	for _, u := range d.files {
		errs = errors.Join(errs, u.cut(chance))
	}
	clear(d.files)
	return errors.Join(errs, d.names.cut(chance), d.attach())
}
