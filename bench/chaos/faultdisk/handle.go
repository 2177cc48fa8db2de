package faultdisk

import (
	"context"
	"math"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// handle is an open file.
type handle struct {
	file *os.File
	disk *disk
	data *unsynced
	name string // when it was opened
}

var _ interface {
	fs.FileReader
	fs.FileWriter
	fs.FileAllocater
	fs.FileLseeker
	fs.FileReleaser
} = (*handle)(nil)

func (h *handle) fd() int { return int(h.file.Fd()) }

func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if h.disk.health.badRead(ctx, h.name) {
		return nil, syscall.EIO
	}
	n, err := readFull(h.fd(), dest, off)
	return fuse.ReadResultData(dest[:n]), fs.ToErrno(err)
}

func (h *handle) Write(ctx context.Context, data []byte, off int64) (n uint32, errno syscall.Errno) {
	if h.disk.health.badWrite(ctx, h.name) {
		return 0, syscall.EIO
	}
	switch fate := h.disk.health.fate(h.name); {
	case fate == lost, fate == misdirected && off < pageSize:
		return uint32(len(data)), fs.OK
	case fate == misdirected:
		off = h.disk.health.elsewhere(off)
	}
	err := h.data.change(h.fd(), off, off+int64(len(data)), func() error {
		written, err := h.file.WriteAt(data, off)
		n = uint32(written)
		return err
	})
	return n, fs.ToErrno(err)
}

// sync syncs the file, or says that it has.
func (h *handle) sync(ctx context.Context, flags uint32) syscall.Errno {
	if h.disk.health.badWrite(ctx, h.name) {
		return syscall.EIO
	}
	if h.disk.health.now().LostSyncs {
		return fs.OK
	}
	const dataOnly = 1
	return fs.ToErrno(h.data.sync(func() error {
		if flags&dataOnly != 0 {
			return unix.Fdatasync(h.fd())
		}
		return unix.Fsync(h.fd())
	}))
}

func (h *handle) truncate(size int64) syscall.Errno {
	return fs.ToErrno(h.data.change(h.fd(), size, math.MaxInt64, func() error { return h.file.Truncate(size) }))
}

// Allocate reserves space or gives it back. A hole is there for good at once: what it takes away, nobody wants.
func (h *handle) Allocate(_ context.Context, off, size uint64, mode uint32) syscall.Errno {
	if mode&^(unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE) != 0 {
		return syscall.EOPNOTSUPP
	}
	return fs.ToErrno(h.data.change(h.fd(), 0, 0, func() error { return unix.Fallocate(h.fd(), mode, int64(off), int64(size)) }))
}

func (h *handle) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	n, err := unix.Seek(h.fd(), int64(off), int(whence))
	return uint64(n), fs.ToErrno(err)
}

func (h *handle) Release(context.Context) syscall.Errno { return fs.ToErrno(h.file.Close()) }
