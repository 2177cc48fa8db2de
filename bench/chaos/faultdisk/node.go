package faultdisk

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// node is a file or directory of the drive.
type node struct {
	fs.Inode
	disk *disk
	data *unsynced   // of the file
	gone atomic.Bool // it has no name any more, but for the one by which it may come back
}

var _ interface {
	fs.NodeLookuper
	fs.NodeCreater
	fs.NodeOpener
	fs.NodeMkdirer
	fs.NodeRmdirer
	fs.NodeUnlinker
	fs.NodeRenamer
	fs.NodeReaddirer
	fs.NodeGetattrer
	fs.NodeSetattrer
	fs.NodeFsyncer
	fs.NodeStatfser
} = (*node)(nil)

// name is that of the node within the drive.
func (n *node) name() string { return filepath.Clean(n.Path(nil)) }

// below is the name of a file in this directory.
func (n *node) below(name string) string { return filepath.Join(n.name(), name) }

// path is where the node really is.
func (n *node) path() string { return n.disk.names.path(n.name()) }

// identity tells files apart, also those that got the number of one that was removed.
type identity struct{ number, birth uint64 }

// child is the node for a file that was looked at.
func (n *node) child(ctx context.Context, fd int, path string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if path == "" {
		flags = unix.AT_EMPTY_PATH
	}
	var st unix.Statx_t
	if err := unix.Statx(fd, path, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return nil, fs.ToErrno(err)
	}
	id := identity{st.Ino, uint64(st.Btime.Sec)*1e9 + uint64(st.Btime.Nsec)}
	out.Attr.FromStat(statOf(&st))
	return n.NewInode(ctx, &node{disk: n.disk, data: n.disk.unsyncedOf(id)}, fs.StableAttr{Mode: uint32(st.Mode), Ino: id.number, Gen: id.birth}), fs.OK
}

func statOf(x *unix.Statx_t) *syscall.Stat_t {
	at := func(t unix.StatxTimestamp) syscall.Timespec { return syscall.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)} }
	return &syscall.Stat_t{Ino: x.Ino, Nlink: uint64(x.Nlink), Mode: uint32(x.Mode), Uid: x.Uid, Gid: x.Gid, Size: int64(x.Size),
		Blksize: int64(x.Blksize), Blocks: int64(x.Blocks), Atim: at(x.Atime), Mtim: at(x.Mtime), Ctim: at(x.Ctime)}
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.child(ctx, unix.AT_FDCWD, n.disk.names.path(n.below(name)), out)
}

// openFlags are those with which a file is opened for somebody who opens it with these. Whatever is to be replaced must be read first, and what
// is past the page cache there need not be here.
func openFlags(flags uint32) int {
	f := int(flags) &^ (unix.O_APPEND | unix.O_DIRECT | unix.O_TRUNC | unix.O_NONBLOCK | unix.O_CREAT | fuse.FMODE_EXEC)
	if f&unix.O_ACCMODE == unix.O_WRONLY {
		f = f&^unix.O_ACCMODE | unix.O_RDWR
	}
	return f
}

// everyCall has every read and write come here, several at a time, and no more than that.
const everyCall = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES | fuse.FOPEN_NOFLUSH

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	f, err := n.disk.names.create(n.below(name), openFlags(flags), mode)
	if err != nil {
		return nil, nil, 0, fs.ToErrno(err)
	}
	child, errno := n.child(ctx, int(f.Fd()), "", out)
	if errno != fs.OK {
		_ = f.Close() // it is refused
		return nil, nil, 0, errno
	}
	h := &handle{file: f, disk: n.disk, data: child.Operations().(*node).data, name: n.below(name)}
	if flags&unix.O_TRUNC != 0 {
		errno = h.truncate(0)
	}
	return child, h, everyCall, errno
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, err := os.OpenFile(n.path(), openFlags(flags)|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, 0, fs.ToErrno(err)
	}
	h := &handle{file: f, disk: n.disk, data: n.data, name: n.name()}
	if flags&unix.O_TRUNC != 0 {
		return h, everyCall, h.truncate(0)
	}
	return h, everyCall, fs.OK
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if err := n.disk.names.mkdir(n.below(name), mode); err != nil {
		return nil, fs.ToErrno(err)
	}
	return n.Lookup(ctx, name, out)
}

func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	return n.without(name, n.disk.names.rmdir(n.below(name)))
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	return n.without(name, n.disk.names.unlink(n.below(name)))
}

func (n *node) Rename(_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*node)
	if !ok {
		return syscall.EXDEV
	}
	return to.without(newName, n.disk.names.rename(n.below(name), to.below(newName), uint(flags)))
}

// without notes that who had a name has it no more, unless there was an error.
func (n *node) without(name string, err error) syscall.Errno {
	if err != nil {
		return fs.ToErrno(err)
	}
	if child := n.GetChild(name); child != nil {
		child.Operations().(*node).gone.Store(true)
	}
	return n.disk.tidy()
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	return fs.NewLoopbackDirStream(n.path())
}

func (n *node) Getattr(_ context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	var st syscall.Stat_t
	var err error
	if h, ok := f.(*handle); ok {
		err = syscall.Fstat(int(h.file.Fd()), &st)
	} else {
		err = syscall.Lstat(n.path(), &st)
	}
	if err != nil {
		return fs.ToErrno(err)
	}
	out.FromStat(&st)
	if n.gone.Load() {
		out.Nlink = 0
	}
	return fs.OK
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, wanted := in.GetSize(); wanted {
		if errno := n.truncate(ctx, f, int64(size)); errno != fs.OK {
			return errno
		}
	}
	if mode, wanted := in.GetMode(); wanted {
		if err := os.Chmod(n.path(), os.FileMode(mode&0o777)); err != nil {
			return fs.ToErrno(err)
		}
	}
	return n.Getattr(ctx, f, out) // owners and times are as they are: nobody asks for them
}

func (n *node) truncate(ctx context.Context, f fs.FileHandle, size int64) syscall.Errno {
	if h, ok := f.(*handle); ok {
		return h.truncate(size)
	}
	opened, _, errno := n.Open(ctx, unix.O_RDWR)
	if errno != fs.OK {
		return errno
	}
	h := opened.(*handle)
	errno = h.truncate(size)
	if released := h.Release(ctx); errno == fs.OK {
		errno = released
	}
	return errno
}

// Fsync syncs a file or a directory.
func (n *node) Fsync(ctx context.Context, f fs.FileHandle, flags uint32) syscall.Errno {
	if h, ok := f.(*handle); ok {
		return h.sync(ctx, flags)
	}
	name := n.name()
	if n.disk.health.badWrite(ctx, name) {
		return syscall.EIO
	}
	if n.disk.health.now().LostSyncs {
		return fs.OK
	}
	return fs.ToErrno(n.disk.names.sync(name, func() error {
		dir, err := os.Open(n.path())
		if err != nil {
			return err
		}
		defer dir.Close()
		return dir.Sync()
	}))
}

func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	var st syscall.Statfs_t
	if err := syscall.Statfs(n.disk.names.root, &st); err != nil {
		return fs.ToErrno(err)
	}
	out.FromStatfsT(&st)
	return n.disk.tidy()
}
