package shardstore

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// scanner finds the records of a segment without knowing where they are.
// Whatever is not a record, be it a hole, a torn write or damage, is skipped.
type scanner struct {
	disk  disk
	file  *os.File
	drive uint64
	gen   uint32 // 0: any
	size  int64

	// verify makes the scanner read every payload; sound is false for those that do not match.
	verify bool
	each   func(r *record, sound bool)

	window []byte // bytes of the file from start on
	start  int64
	ahead  int64 // the system has been told to read up to here
	block  []byte
}

const (
	scanWindow = 256 << 10
	// readAhead is more than the system does by itself, which waits for each piece.
	readAhead = 8 << 20
)

// run scans from off to the end of the file and returns where the last record found ends.
func (s *scanner) run(off int64) (end int64, err error) {
	st, err := s.file.Stat()
	if err != nil {
		return 0, err
	}
	s.size = st.Size()
	s.window = make([]byte, 0, scanWindow)
	end = off
	for off < s.size {
		next, err := s.seek(off)
		if err != nil || next < 0 {
			return end, err
		}
		r, ok, err := s.at(next)
		if err != nil {
			return end, err
		}
		if !ok {
			off = next + packAlign
			continue
		}
		off = next + r.length()
		end = off
	}
	return end, nil
}

// seek returns the next place from off on that looks like a record, -1 if there is none.
func (s *scanner) seek(off int64) (int64, error) {
	for off < s.size {
		if err := s.fill(off, headerSize); err != nil {
			return 0, err
		}
		view := s.window[off-s.start:]
		for at := 0; at+headerSize <= len(view); at += packAlign {
			i := bytes.Index(view[at:], []byte(recordMagic))
			if i < 0 {
				break
			}
			if at += i; at%packAlign == 0 {
				return off + int64(at), nil
			}
			at -= at % packAlign
		}
		if s.start+int64(len(s.window)) >= s.size {
			return -1, nil
		}
		off = s.skipHole(s.start + int64(len(s.window)) - headerSize + packAlign)
	}
	return -1, nil
}

// skipHole returns the first place from off on where the file has data.
func (s *scanner) skipHole(off int64) int64 {
	data, err := unix.Seek(int(s.file.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return s.size
	case err != nil || data < off:
		return off
	}
	return data - data%packAlign
}

// fill makes the window hold n bytes from off on, or up to the end of the file.
// What cannot be read reads as zeros: the records there are lost, not the others.
func (s *scanner) fill(off, n int64) error {
	n = min(n, s.size-off)
	if off >= s.start && off+n <= s.start+int64(len(s.window)) {
		return nil
	}
	if s.verify && off+readAhead/2 > s.ahead { // all of it will be read
		from := max(off, s.ahead)
		s.ahead = off + readAhead
		_ = unix.Fadvise(int(s.file.Fd()), from, s.ahead-from, unix.FADV_WILLNEED) // only a hint
	}
	s.start = off
	s.window = s.window[:min(int64(cap(s.window)), s.size-off)]
	err := s.disk.read(s.file, [][]byte{s.window}, off)
	if errors.Is(err, unix.EIO) || errors.Is(err, io.ErrUnexpectedEOF) {
		clear(s.window)
		for i := 0; i < len(s.window); i += 4096 {
			part := s.window[i:min(i+4096, len(s.window))]
			if s.disk.read(s.file, [][]byte{part}, off+int64(i)) != nil {
				clear(part)
			}
		}
		return nil
	}
	return err
}

// at tells whether a record of this segment starts at off, and passes it on.
func (s *scanner) at(off int64) (r record, ok bool, err error) {
	if err := s.fill(off, headerSize); err != nil {
		return r, false, err
	}
	if r.decode(s.window[off-s.start:], s.drive) != nil || int64(r.off) != off || (s.gen != 0 && r.gen != s.gen) {
		return r, false, nil
	}
	if off+r.length() > s.size {
		s.each(&r, false)
		return r, false, nil
	}
	sound := true
	if s.verify {
		if sound, err = s.sound(&r); err != nil {
			return r, false, err
		}
	}
	s.each(&r, sound)
	// Behind a torn record others may lie within what it claims: look at each place.
	return r, sound, nil
}

// sound reads the payload and tells whether all of it matches.
func (s *scanner) sound(r *record) (bool, error) {
	if r.size == 0 {
		return true, nil
	}
	off := int64(r.off)
	tableSize := int64(sumSize * blockCount(int64(r.size)))
	table := make([]byte, tableSize)
	if err := s.readOrZero(table, off+headerSize); err != nil {
		return false, err
	}
	if !r.checkTable(table) {
		return false, nil
	}
	if s.block == nil {
		s.block = make([]byte, checksumBlock)
	}
	at := off + payloadOffset(int64(r.size))
	left := int64(r.size)
	for n := 0; left > 0; n++ {
		block := s.block[:min(left, checksumBlock)]
		if err := s.readOrZero(block, at); err != nil {
			return false, err
		}
		if !r.checkBlocks(table, n, block) {
			return false, nil
		}
		at += int64(len(block))
		left -= int64(len(block))
	}
	return true, nil
}

func (s *scanner) readOrZero(p []byte, off int64) error {
	if off >= s.start && off+int64(len(p)) <= s.start+int64(len(s.window)) {
		copy(p, s.window[off-s.start:])
		return nil
	}
	err := s.disk.read(s.file, [][]byte{p}, off)
	if errors.Is(err, unix.EIO) || errors.Is(err, io.ErrUnexpectedEOF) {
		clear(p)
		return nil
	}
	return err
}
