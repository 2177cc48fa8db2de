package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"kintsugi/internal/directio"
	"kintsugi/internal/pace"
)

// Scrub reads every segment of the log that is not written any more, at most bytesPerSecond (0: no limit). Damage
// is its error, ErrDamaged. The segments up to a damaged one are dropped if the state, on stable storage, holds all
// that is in them; otherwise the host fails, to be replaced.
//
// A segment may end in what a crash tore and recovery left out. So the end of its batches tells nothing by itself:
// a batch is lost if the next segment does not go on with the next number.
func (h *Host) Scrub(ctx context.Context, bytesPerSecond int64) error {
	var segments []segmentFile
	err := h.call(ctx, func() error {
		segments = h.log.segmentFiles()
		return nil
	})
	if err != nil {
		return err
	}
	s := scrub{host: h.cfg.ID}
	s.rate.PerSecond = bytesPerSecond
	for i, f := range segments {
		first, last, err := s.read(ctx, f, i == len(segments)-1)
		if err != nil {
			return err
		}
		if suspect, found := s.note(f, first, last); found {
			if err := h.dropDamaged(ctx, suspect); err != nil {
				return err
			}
		}
	}
	return nil
}

// segmentFile is a segment as a scrub sees it.
type segmentFile struct {
	id   uint64
	path string
	size int64
}

func (l *diskLog) segmentFiles() []segmentFile {
	var files []segmentFile
	for _, s := range l.segments {
		files = append(files, segmentFile{s.id, s.path, s.size})
	}
	return files
}

// scrub follows the numbers of the batches from segment to segment.
type scrub struct {
	host   uint64
	rate   pace.Pace
	known  bool        // last is
	last   uint64      // number of the last batch
	before segmentFile // the segment read before
	buf    []byte
}

// note takes over what a segment was found to hold. It returns the segment that lost batches, if one did.
func (s *scrub) note(f segmentFile, first, last uint64) (damaged segmentFile, found bool) {
	before := s.before
	s.before = f
	switch {
	case first == 0 && !s.known:
		return f, true
	case first == 0:
		return segmentFile{}, false // the next one tells
	}
	gap := s.known && first != s.last+1
	s.known, s.last = true, last
	return before, gap
}

// read verifies the batches of a segment, or only the first if the segment is still written, and returns
// the numbers of the first and the last good one; 0 if there is none.
func (s *scrub) read(ctx context.Context, f segmentFile, open bool) (first, last uint64, err error) {
	file, err := os.Open(f.path)
	if err != nil {
		return 0, 0, nil
	}
	defer file.Close()
	for offset := int64(0); offset < f.size; {
		h, ok := s.batch(file, f, offset)
		if !ok || last != 0 && h.sequence != last+1 {
			break
		}
		if first == 0 {
			first = h.sequence
		}
		last = h.sequence
		if open {
			break
		}
		offset += h.size()
		if err := s.rate.Wait(ctx, h.size()); err != nil {
			return 0, 0, err
		}
	}
	return first, last, nil
}

// batch verifies the batch at offset.
func (s *scrub) batch(file io.ReaderAt, f segmentFile, offset int64) (batchHeader, bool) {
	s.buf = slices.Grow(s.buf[:0], directio.BlockSize)[:directio.BlockSize]
	if _, err := file.ReadAt(s.buf, offset); err != nil {
		return batchHeader{}, false
	}
	h, err := decodeBatchHeader(s.buf)
	if err != nil || h.segment != f.id || h.host != s.host || h.size() > f.size-offset {
		return h, false
	}
	s.buf = slices.Grow(s.buf[:0], int(h.size()))[:h.size()]
	if _, err := file.ReadAt(s.buf, offset); err != nil {
		return h, false
	}
	return h, batchIntact(s.buf)
}

const (
	dropWait  = 10 * time.Second // for the state to be durable
	dropPause = 20 * time.Millisecond
)

// dropDamaged removes the segments up to the damaged one, or fails the host if they are still needed. It returns
// nil if the segment had been dropped before: then it was no damage that was read.
func (h *Host) dropDamaged(ctx context.Context, f segmentFile) error {
	damage := fmt.Errorf("raft log segment %x: %w", f.id, ErrDamaged)
	h.committer.requestSync()
	for deadline := time.Now().Add(dropWait); ; {
		var there, dropped bool
		err := h.call(ctx, func() (err error) {
			there, dropped, err = h.dropThrough(f.id)
			return err
		})
		switch {
		case err != nil || !there:
			return err
		case dropped:
			h.metrics.damaged.Inc()
			h.cfg.Logger.Warn("damaged raft log segments dropped: the state has their entries",
				slog.Uint64("replica", h.cfg.ID), slog.String("through", f.path))
			return damage
		case time.Now().After(deadline):
			h.metrics.damaged.Inc()
			h.fail(damage)
			return damage
		}
		if err := pace.Pause(ctx, dropPause); err != nil {
			return errors.Join(damage, err)
		}
	}
}

// dropThrough drops the segments up to the one with that id, if none of them is needed any more.
func (h *Host) dropThrough(id uint64) (there, dropped bool, err error) {
	i := slices.IndexFunc(h.log.segments, func(s *segment) bool { return s.id == id })
	if i < 0 || i == len(h.log.segments)-1 {
		return false, false, nil
	}
	synced := func(g int) uint64 { return max(h.groups[g].synced.Load(), h.log.groups[g].start) }
	for _, s := range h.log.segments[:i+1] {
		if !coveredBy(s, synced) {
			return true, false, nil
		}
	}
	if err := h.log.drop(i + 1); err != nil {
		h.fail(err)
		return true, false, err
	}
	return true, true, nil
}
