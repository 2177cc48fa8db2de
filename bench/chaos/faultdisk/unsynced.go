package faultdisk

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// unsynced is what has become of a file since its last sync, so that it can be undone.
type unsynced struct {
	// writing is held for reading from the look at what is there until that is replaced, and for writing when a sync begins: so every write is
	// known to be before or after it.
	writing sync.RWMutex

	mu    sync.Mutex // guards all below
	file  *os.File   // nil while there is nothing to undo
	first int        // how many of spans were dropped
	spans []*span    // oldest first
	open  bool       // the last one of spans takes more
}

// span is the time between two syncs.
type span struct {
	size int64 // of the file when it began
	olds []old
}

// old is what was somewhere in the file before it was replaced.
type old struct {
	off, length int64
	data        []byte // nil: zeros
}

// change does something that replaces the bytes of fd from one offset up to another.
func (u *unsynced) change(fd int, from, to int64, do func() error) error {
	u.writing.RLock()
	defer u.writing.RUnlock()
	s, err := u.current(fd)
	if err != nil {
		return err
	}
	olds, err := contents(fd, from, min(to, s.size)) // what is behind goes when the file gets its size back
	if err != nil {
		return err
	}
	u.mu.Lock()
	s.olds = append(s.olds, olds...)
	u.mu.Unlock()
	return do()
}

// current is the span that takes what is replaced now. The caller holds writing.
func (u *unsynced) current(fd int) (*span, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open {
		return u.spans[len(u.spans)-1], nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if u.file == nil {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		u.file = os.NewFile(uintptr(own), "unsynced")
	}
	u.spans, u.open = append(u.spans, &span{size: st.Size}), true
	return u.spans[len(u.spans)-1], nil
}

// sync does a sync. What had been written before needs no undoing any more.
func (u *unsynced) sync(do func() error) error {
	u.writing.Lock()
	u.mu.Lock()
	covered := u.first + len(u.spans)
	u.open = false
	u.mu.Unlock()
	u.writing.Unlock()
	if err := do(); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for ; u.first < covered; u.first++ {
		u.spans = u.spans[1:]
	}
	return u.settle()
}

// settle lets go of the file if nothing is left to be undone. The caller holds mu.
func (u *unsynced) settle() error {
	if len(u.spans) > 0 || u.file == nil {
		return nil
	}
	err := u.file.Close()
	u.file, u.open = nil, false
	return err
}

// sectorSize is what a disk writes as a whole or not at all, in bytes.
const sectorSize = 512

// cut is the power cut: what was written since the last sync is gone. With chance, a part of it may be there, as disks write in any order.
func (u *unsynced) cut(chance *rand.Rand) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.spans) == 0 {
		return nil
	}
	defer func() { u.spans = nil; _ = u.settle() }() // what counts was written
	fate := u.fate(chance)
	for i := len(u.spans) - 1; i >= 0; i-- {
		olds := u.spans[i].olds
		for j := len(olds) - 1; j >= 0; j-- {
			if err := olds[j].restore(u.file, fate); err != nil {
				return err
			}
		}
	}
	return u.resize(fate, chance)
}

// fate draws which sectors lose what was written.
func (u *unsynced) fate(chance *rand.Rand) (lost func() bool) {
	always, never := func() bool { return true }, func() bool { return false }
	if chance == nil {
		return always
	}
	info, err := u.file.Stat()
	shrunk := err != nil || info.Size() < u.spans[0].size // a file is cut off or not
	switch n := chance.IntN(3); {
	case n == 0 || shrunk:
		return always
	case n == 1:
		return never
	}
	return func() bool { return chance.IntN(2) == 0 }
}

// resize gives the file the size that it had, or one on the way from there to what it is now, with gaps.
func (u *unsynced) resize(lost func() bool, chance *rand.Rand) error {
	info, err := u.file.Stat()
	if err != nil {
		return err
	}
	size, was := info.Size(), u.spans[0].size
	if lost() {
		size = was
		if grown := info.Size() - was; grown > 0 && chance != nil && chance.IntN(2) == 0 {
			size += chance.Int64N(grown + 1)
		}
	}
	if err := u.file.Truncate(size); err != nil {
		return err
	}
	return old{off: was, length: size - was}.restore(u.file, lost)
}

// restore puts back what was there, in the sectors that are lost.
func (o old) restore(f *os.File, lost func() bool) error {
	for from := o.off; from < o.off+o.length; {
		to, gone := o.run(from, lost)
		if !gone {
			from = to
			continue
		}
		var err error
		if o.data == nil {
			err = zero(f, from, to-from)
		} else {
			_, err = f.WriteAt(o.data[from-o.off:to-o.off], from)
		}
		if err != nil {
			return err
		}
		from = to
	}
	return nil
}

// run is how far sectors have the same fate, at most a piece.
func (o old) run(from int64, lost func() bool) (to int64, gone bool) {
	end := o.off + o.length
	gone = lost()
	to = min(end, (from/sectorSize+1)*sectorSize)
	for n := 1; to < end && n < 1<<12; n++ {
		if lost() != gone {
			break
		}
		to = min(end, to+sectorSize)
	}
	return to, gone
}

// zero makes a range of a file read as zeros.
func zero(f *os.File, off, length int64) error {
	const keepSize = unix.FALLOC_FL_KEEP_SIZE
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE|keepSize, off, length)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|keepSize, off, length)
	}
	return err
}

// contents reads a range of a file. What was never written is not read.
func contents(fd int, from, to int64) (olds []old, err error) {
	for from < to {
		begin, err := unix.Seek(fd, from, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			begin, err = to, nil
		}
		if err != nil {
			return nil, err
		}
		if begin = min(begin, to); begin > from {
			olds, from = append(olds, old{off: from, length: begin - from}), begin
			continue
		}
		end, err := unix.Seek(fd, from, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		data := make([]byte, min(end, to)-from)
		n, err := readFull(fd, data, from)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return olds, nil
		}
		olds, from = append(olds, old{from, int64(n), data[:n]}), from+int64(n)
	}
	return olds, nil
}

// readFull reads until p is full or the file ends.
func readFull(fd int, p []byte, off int64) (n int, err error) {
	for n < len(p) {
		m, err := unix.Pread(fd, p[n:], off+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}
