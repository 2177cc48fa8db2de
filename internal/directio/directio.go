// Package directio holds the few Linux calls that those who keep files on a drive
// share: aligned memory, O_DIRECT with a fallback, fallocate, hole punching, fdatasync
// and what room there is. It must not know any format.
package directio

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BlockSize is the alignment, in bytes, that O_DIRECT asks of offset, length and memory.
const BlockSize = 4096

// Align rounds n up to a multiple of BlockSize.
func Align(n int64) int64 { return (n + BlockSize - 1) &^ (BlockSize - 1) }

// IsAligned tells whether p starts at a multiple of BlockSize in memory and has such a length.
func IsAligned(p []byte) bool {
	return len(p)%BlockSize == 0 && (len(p) == 0 || uintptr(unsafe.Pointer(&p[0]))%BlockSize == 0)
}

// Buffer returns n zeroed bytes that start at a multiple of BlockSize.
func Buffer(n int) []byte {
	b := make([]byte, n+BlockSize)
	off := 0
	if r := int(uintptr(unsafe.Pointer(&b[0])) % BlockSize); r != 0 {
		off = BlockSize - r
	}
	return b[off : off+n : off+n]
}

// OpenFile opens name for writing past the page cache. Filesystems that refuse
// O_DIRECT (some tmpfs) get a plain descriptor; direct tells which it is.
func OpenFile(name string, flag int, perm os.FileMode) (f *os.File, direct bool, err error) {
	return openDirect(flag, func(flag int) (*os.File, error) { return os.OpenFile(name, flag, perm) })
}

// OpenIn is OpenFile for a name in root: it stays in that directory even when
// another one has taken the path's place.
func OpenIn(root *os.Root, name string, flag int, perm os.FileMode) (f *os.File, direct bool, err error) {
	return openDirect(flag, func(flag int) (*os.File, error) { return root.OpenFile(name, flag, perm) })
}

func openDirect(flag int, open func(flag int) (*os.File, error)) (f *os.File, direct bool, err error) {
	if f, err = open(flag | unix.O_DIRECT); !errors.Is(err, unix.EINVAL) {
		return f, err == nil, err
	}
	f, err = open(flag)
	return f, false, err
}

// Allocate reserves size bytes for f from offset 0. Where the filesystem cannot, it
// extends the file instead, and running out of space shows at the write.
func Allocate(f *os.File, size int64) error {
	err := retry(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return f.Truncate(size)
	}
	return err
}

// PunchHole gives the blocks of f in [off, off+n) back to the filesystem; they read as zeros.
func PunchHole(f *os.File, off, n int64) error {
	return retry(func() error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// Datasync makes what was written to f durable. After an error nothing may be
// assumed of earlier writes, and it must not be called again.
func Datasync(f *os.File) error {
	return retry(func() error { return unix.Fdatasync(int(f.Fd())) })
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// retry repeats a call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Space is how much room a filesystem has, in bytes.
type Space struct {
	Free int64 // for users other than root
	Size int64
}

// SpaceAt returns the space of the filesystem that path is on.
func SpaceAt(path string) (Space, error) {
	var st unix.Statfs_t
	err := retry(func() error { return unix.Statfs(path, &st) })
	return Space{Free: int64(st.Bavail) * st.Bsize, Size: int64(st.Blocks) * st.Bsize}, err
}

// SpaceOf is SpaceAt for an open file or directory, wherever its name is now. It may be closed meanwhile, which is an error.
func SpaceOf(f *os.File) (Space, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return Space{}, err
	}
	var st unix.Statfs_t
	ask := func(fd uintptr) {
		err = retry(func() error { return unix.Fstatfs(int(fd), &st) })
	}
	if raw.Control(ask) != nil {
		return Space{}, os.ErrClosed
	}
	if err != nil {
		return Space{}, err
	}
	return Space{Free: int64(st.Bavail) * st.Bsize, Size: int64(st.Blocks) * st.Bsize}, nil
}
