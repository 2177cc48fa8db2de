package shardstore

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"kintsugi/internal/directio"
)

const (
	segmentPrefix = "seg-"
	hintSuffix    = ".hint"
	tempSuffix    = ".tmp"

	defaultSegmentSize = 256 << 20
	maxSegmentSize     = 1 << 31
)

// segment is a segment file in use. Its file descriptors live as long as somebody
// has acquired it, so a reader is never left with a closed or a reused one.
type segment struct {
	gen      uint32
	name     string // of its file in the directory
	capacity int64
	read     *os.File // through the page cache
	write    *os.File // past it, where the filesystem can; reads too
	refs     atomic.Int32

	// Guarded by Store.mu.
	next      int64 // offset of the next record
	allocated int64 // bytes that the filesystem has promised
	inflight  int   // reservations that are not in the index yet
	retired   bool  // takes no more records
	resumed   bool  // had records when it was opened

	// Used by the committer until the segment is retired and nothing is in
	// flight, by the housekeeper afterwards.
	hint *hintWriter

	sealed    atomic.Bool  // its hint is written, or cannot be
	punchedAt atomic.Int64 // live bytes when holes were last punched; -1: never
}

func segmentName(gen uint32) string { return fmt.Sprintf("%s%08x", segmentPrefix, gen) }

// parseSegmentName returns the number in a segment's file name. It is only a
// name: the head tells the generation.
func parseSegmentName(name string) (uint32, bool) {
	hex, ok := strings.CutPrefix(name, segmentPrefix)
	if !ok || len(hex) != 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	return uint32(n), err == nil
}

// createSegment makes a new empty segment whose head is durable.
func (s *Store) createSegment(gen uint32, capacity int64) (*segment, error) {
	name := segmentName(gen)
	seg, err := s.openFiles(name, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	seg.gen, seg.capacity = gen, capacity
	err = s.disk.allocate(seg.write, segmentHeadSize)
	if err == nil {
		err = s.writeHead(seg)
	}
	if err == nil {
		err = s.dirFile.Sync()
	}
	if err != nil {
		seg.close()
		return nil, errors.Join(err, s.root.Remove(name))
	}
	return seg, nil
}

// writeHead starts a generation: whatever the file holds behind the head is void from here on.
func (s *Store) writeHead(seg *segment) error {
	head := directio.Buffer(segmentHeadSize)
	segmentHead{drive: s.cfg.Drive, gen: seg.gen, capacity: seg.capacity}.encode(head)
	if err := s.disk.write(seg.write, [][]byte{head}, 0); err != nil {
		return err
	}
	if err := s.disk.sync(seg.write); err != nil {
		return err
	}
	seg.next = segmentHeadSize
	seg.allocated = max(seg.allocated, segmentHeadSize)
	return nil
}

// openFiles opens both descriptors of a segment file.
func (s *Store) openFiles(name string, flag int) (*segment, error) {
	w, _, err := directio.OpenIn(s.root, name, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	r, err := s.root.Open(name)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	seg := &segment{name: name, write: w, read: r}
	seg.refs.Store(1)
	seg.punchedAt.Store(-1)
	return seg, nil
}

// grow makes sure that the first need bytes of the segment are allocated and
// leaves floor bytes to others. It goes in steps, so that a hardly used drive takes
// little space, and by what is needed when there is no room for a step.
func (s *Store) grow(seg *segment, need, floor int64) error {
	if need <= seg.allocated {
		return nil
	}
	free, err := s.freeBytes()
	if err != nil {
		return err
	}
	err = ErrFull
	for _, size := range []int64{max(need, seg.allocated+s.cfg.GrowBytes), need} {
		size = min(seg.capacity, size)
		if free < size-seg.allocated+floor {
			continue
		}
		if err = s.disk.allocate(seg.write, size); err == nil {
			seg.allocated = size
			return nil
		}
		if !isFull(err) {
			return err
		}
	}
	return err
}

func (seg *segment) acquire() { seg.refs.Add(1) }

// release gives up one use; the last one closes the files.
func (seg *segment) release() {
	if seg.refs.Add(-1) == 0 {
		seg.close()
	}
}

func (seg *segment) close() {
	// Nothing is lost with an error here: what counts was synced before.
	_ = seg.read.Close()
	_ = seg.write.Close()
}

// segmentOf returns the segment with the given generation, acquired, or nil.
func (s *Store) segmentOf(gen uint32) *segment {
	s.segMu.RLock()
	defer s.segMu.RUnlock()
	seg := s.segments[gen]
	if seg != nil {
		seg.acquire()
	}
	return seg
}

// addSegment makes a segment findable.
func (s *Store) addSegment(seg *segment) {
	s.index.addSegment(seg.gen)
	s.segMu.Lock()
	defer s.segMu.Unlock()
	s.segments[seg.gen] = seg
}

// forgetSegment is called when the file is gone or starts another generation.
func (s *Store) forgetSegment(gen uint32) {
	s.segMu.Lock()
	delete(s.segments, gen)
	s.segMu.Unlock()
	s.index.removeSegment(gen)
}

// allSegments returns the segments in order of generation, acquired; the caller releases each.
func (s *Store) allSegments() []*segment {
	s.segMu.RLock()
	defer s.segMu.RUnlock()
	list := make([]*segment, 0, len(s.segments))
	for _, seg := range s.segments {
		seg.acquire()
		list = append(list, seg)
	}
	slices.SortFunc(list, func(a, b *segment) int { return cmp.Compare(a.gen, b.gen) })
	return list
}

// removeFile removes a file that may be gone already.
func removeFile(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
