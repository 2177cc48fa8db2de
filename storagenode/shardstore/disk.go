package shardstore

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"kintsugi/internal/directio"
)

// disk is the I/O on open segments, so that tests can make it fail.
type disk interface {
	// write writes all of bufs one after the other at off.
	write(f *os.File, bufs [][]byte, off int64) error
	// read fills bufs one after the other from off on, or fails.
	read(f *os.File, bufs [][]byte, off int64) error
	// sync makes what was written durable.
	sync(f *os.File) error
	// allocate reserves the first size bytes of the file.
	allocate(f *os.File, size int64) error
}

// linuxDisk is the real one.
type linuxDisk struct{}

func (linuxDisk) write(f *os.File, bufs [][]byte, off int64) error {
	for len(bufs) > 0 {
		n, err := unix.Pwritev(int(f.Fd()), bufs, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", f.Name(), err)
		}
		if n == 0 {
			return fmt.Errorf("write %s: %w", f.Name(), io.ErrShortWrite)
		}
		off += int64(n)
		bufs = advance(bufs, n)
	}
	return nil
}

func (linuxDisk) read(f *os.File, bufs [][]byte, off int64) error {
	for len(bufs) > 0 {
		n, err := unix.Preadv(int(f.Fd()), bufs, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", f.Name(), err)
		}
		if n == 0 {
			return fmt.Errorf("read %s: %w", f.Name(), io.ErrUnexpectedEOF)
		}
		off += int64(n)
		bufs = advance(bufs, n)
	}
	return nil
}

func (linuxDisk) sync(f *os.File) error { return directio.Datasync(f) }

func (linuxDisk) allocate(f *os.File, size int64) error { return directio.Allocate(f, size) }

// advance returns bufs without their first n bytes. It may change bufs.
func advance(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

// isFull tells whether err only says that there is no room.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, ErrFull)
}

// isTransient tells whether err is about this process and not about the drive.
func isTransient(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

// linkCount is the number of names of an open file; 0 when it was removed.
func linkCount(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return uint64(st.Nlink), nil
}
