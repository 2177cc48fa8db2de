package raftgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"kintsugi/internal/directio"
)

const (
	segmentPrefix = "seg-"
	sparePrefix   = "spare-"
	segmentSuffix = ".log"
)

// segment is one file of the log that holds batches.
type segment struct {
	id     uint64
	path   string
	size   int64    // of the file
	last   []uint64 // highest index of each group in it
	reader *os.File // opened at the first read back
}

func newSegment(dir string, id uint64, size int64, groups int) *segment {
	return &segment{id: id, path: segmentPath(dir, id), size: size, last: make([]uint64, groups)}
}

func segmentPath(dir string, id uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x%s", segmentPrefix, id, segmentSuffix))
}

func sparePath(dir string, n uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x%s", sparePrefix, n, segmentSuffix))
}

// readAt fills p from the file, which is open for writing past the page cache elsewhere.
func (s *segment) readAt(p []byte, off int64) error {
	if s.reader == nil {
		f, err := os.Open(s.path)
		if err != nil {
			return err
		}
		s.reader = f
	}
	_, err := s.reader.ReadAt(p, off)
	return err
}

func (s *segment) close() error {
	if s.reader == nil {
		return nil
	}
	f := s.reader
	s.reader = nil
	return f.Close()
}

// listSegments returns the ids of the segments in dir, ascending, and the paths of the spare files.
func listSegments(dir string) (ids []uint64, spares []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok {
			continue
		}
		if strings.HasPrefix(name, sparePrefix) {
			spares = append(spares, filepath.Join(dir, e.Name()))
			continue
		}
		hex, ok := strings.CutPrefix(name, segmentPrefix)
		if !ok || len(hex) != 16 {
			continue
		}
		if id, err := strconv.ParseUint(hex, 16, 64); err == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, spares, nil
}

// spare is a file that is allocated and begins with a block of zeros, to become a segment by renaming.
type spare struct {
	path  string
	size  int64
	dirty bool // holds old batches: the block behind a new one must be zeroed
}

// makeSpare allocates a file of size bytes.
func makeSpare(dir string, n uint64, size int64) (spare, error) {
	path := sparePath(dir, n)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return spare{}, err
	}
	err = directio.Allocate(f, size)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
		return spare{}, err
	}
	return spare{path: path, size: size}, nil
}

// cleanSpare zeroes the first block of a file with old batches, so that none is found there.
func cleanSpare(path string) (spare, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return spare{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return spare{}, err
	}
	if _, err := f.WriteAt(make([]byte, directio.BlockSize), 0); err != nil {
		return spare{}, err
	}
	if err := directio.Datasync(f); err != nil {
		return spare{}, err
	}
	return spare{path: path, size: info.Size(), dirty: true}, nil
}

// removeIfThere removes path; that it is gone already is no error.
func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
