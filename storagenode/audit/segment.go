package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/zeebo/xxh3"

	"kintsugi/placement"
)

// segment is a file that is being read.
type segment struct {
	file   *os.File
	size   int64
	head   head
	whole  bool // the head could be read
	window []byte
	start  int64 // of the window in the file
	done   func(bytes int64)
}

const windowSize = 1 << 20

// openSegment opens a file and reads its head.
func openSegment(name string) (*segment, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s := &segment{file: f, size: st.Size()}
	s.head, s.whole = s.readHead()
	return s, nil
}

func (s *segment) readHead() (head, bool) {
	page := make([]byte, segmentHead)
	n, _ := s.file.ReadAt(page, 0) // what cannot be read does not match
	return decodeHead(page[:n])
}

// recycled tells whether the file is being used for something else by now.
func (s *segment) recycled() bool {
	now, whole := s.readHead()
	return whole != s.whole || now != s.head
}

// removed tells whether the file has lost its name.
func (s *segment) removed() bool {
	st, err := s.file.Stat()
	if err != nil {
		return true
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && sys.Nlink == 0
}

// scan calls each for every record of the segment; intact tells whether its payload is as it was written.
func (s *segment) scan(ctx context.Context, drive placement.DriveID, each func(r *record, intact bool)) error {
	hash := xxh3.Hash(drive[:])
	for off := int64(segmentHead); off < s.size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		at, err := s.find(off)
		if err != nil {
			return err
		}
		if at < 0 {
			break
		}
		off = at + packAlign
		b, err := s.bytes(at, headerSize)
		if err != nil {
			return err
		}
		r, ok := decodeRecord(b, hash)
		if !ok || int64(r.off) != at || s.whole && r.gen != s.head.gen {
			continue
		}
		intact, err := s.intact(&r)
		if err != nil {
			return err
		}
		each(&r, intact)
		if intact {
			off = at + r.length()
		}
	}
	return nil
}

// find returns the next place from off on where a record may begin, -1 if there is none.
func (s *segment) find(off int64) (int64, error) {
	for ; off+headerSize <= s.size; off = s.start + roundUp(int64(len(s.window))-packAlign+1, packAlign) {
		if _, err := s.bytes(off, packAlign); err != nil {
			return 0, err
		}
		view := s.window[off-s.start:]
		for at := 0; at < len(view); {
			i := bytes.Index(view[at:], []byte("KSHD"))
			if i < 0 {
				break
			}
			if at += i; at%packAlign == 0 {
				return off + int64(at), nil
			}
			at++
		}
	}
	return -1, nil
}

// bytes returns n bytes from off on, fewer at the end of the file. What the medium does not give reads as zeros.
func (s *segment) bytes(off, n int64) ([]byte, error) {
	n = min(n, s.size-off)
	if off < s.start || off+n > s.start+int64(len(s.window)) {
		if s.window == nil {
			s.window = make([]byte, windowSize)
		}
		s.start, s.window = off, s.window[:min(windowSize, s.size-off)]
		if err := s.read(s.window, off); err != nil {
			return nil, err
		}
		s.done(int64(len(s.window)))
	}
	return s.window[off-s.start : off-s.start+n], nil
}

// read fills p, with zeros where there is nothing to be read.
func (s *segment) read(p []byte, off int64) error {
	n, err := s.file.ReadAt(p, off)
	clear(p[n:])
	var fault *os.PathError
	if err == nil || errors.Is(err, io.EOF) || errors.As(err, &fault) {
		return nil // an I/O error is damage, which the checksums tell
	}
	return err
}

// intact verifies the payload.
func (s *segment) intact(r *record) (bool, error) {
	at := int64(r.off)
	if at+r.length() > s.size {
		return false, nil
	}
	table := make([]byte, r.blocks()*sumSize)
	if err := s.read(table, at+headerSize); err != nil {
		return false, err
	}
	if r.size > 0 && xxh3.Hash(table) != r.tableSum {
		return false, nil
	}
	seed, left := r.seed(), int64(r.size)
	for n := int64(0); left > 0; n++ {
		block, err := s.bytes(at+r.payloadAt()+n*checksumBlock, min(left, checksumBlock))
		if err != nil {
			return false, err
		}
		if blockSum(seed, uint64(n), block) != le.Uint64(table[n*sumSize:]) {
			return false, nil
		}
		left -= int64(len(block))
	}
	return true, nil
}
