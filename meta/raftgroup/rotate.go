package raftgroup

import (
	"errors"
	"log/slog"
	"os"

	"kintsugi/internal/directio"
)

// keptSpares is how many emptied segments are kept to be written again.
const keptSpares = 2

// rotate makes a spare file the segment that is written. need is the least size, bytes.
func (l *diskLog) rotate(need int64) error {
	sp, err := l.takeSpare(need)
	if err != nil {
		return err
	}
	id := uint64(1)
	if n := len(l.segments); n > 0 {
		id = l.segments[n-1].id + 1
	}
	s := newSegment(l.dir, id, sp.size, len(l.groups))
	if err := os.Rename(sp.path, s.path); err != nil {
		return err
	}
	if err := directio.SyncDir(l.dir); err != nil {
		return err
	}
	f, _, err := directio.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if l.file != nil {
		l.file.Close()
	}
	l.segments = append(l.segments, s)
	l.file, l.end, l.dirty = f, 0, sp.dirty
	l.prepareSpare()
	return nil
}

// takeSpare returns a spare of at least need bytes and makes one if there is none.
func (l *diskLog) takeSpare(need int64) (spare, error) {
	l.collectSpare(true)
	for i, sp := range l.spares {
		if sp.size >= need {
			l.spares = append(l.spares[:i], l.spares[i+1:]...)
			return sp, nil
		}
	}
	l.spareID++
	return l.disk.spare(l.dir, l.spareID, max(l.segmentBytes, directio.Align(need)))
}

// prepareSpare makes a spare in the background if there is none, so that a rotation need not wait for
// it, and so that a full disk shows while there is still room for one segment.
func (l *diskLog) prepareSpare() {
	l.collectSpare(false)
	if len(l.spares) > 0 || l.preparing != nil {
		return
	}
	l.spareID++
	n, done := l.spareID, make(chan preparedSpare, 1)
	l.preparing = done
	l.tasks.Go(func() {
		sp, err := l.disk.spare(l.dir, n, l.segmentBytes)
		done <- preparedSpare{sp, err}
	})
}

// collectSpare takes over what prepareSpare began.
func (l *diskLog) collectSpare(wait bool) {
	if l.preparing == nil {
		return
	}
	var p preparedSpare
	if wait {
		p = <-l.preparing
	} else {
		select {
		case p = <-l.preparing:
		default:
			return
		}
	}
	l.preparing = nil
	if p.err != nil {
		if !l.full {
			l.logger.Warn("no room for another raft log segment", slog.Any("error", p.err))
		}
		l.full = true
		return
	}
	l.full = false
	l.spares = append(l.spares, p.spare)
}

// droppable returns how many of the oldest segments could go so that at most half of the limit
// is left, and how many of them hold nothing but entries that are durable in the state (synced, by group).
func (l *diskLog) droppable(synced func(group int) uint64) (want, can int) {
	total := l.bytes()
	if total <= l.limitBytes {
		return 0, 0
	}
	for _, s := range l.segments[:len(l.segments)-1] {
		if total <= l.limitBytes/2 {
			break
		}
		total -= s.size
		want++
		if can == want-1 && coveredBy(s, synced) {
			can++
		}
	}
	return want, can
}

func coveredBy(s *segment, synced func(group int) uint64) bool {
	for g, last := range s.last {
		if last > synced(g) {
			return false
		}
	}
	return true
}

// drop removes the n oldest segments. What they hold of the groups' state is written again before.
func (l *diskLog) drop(n int) error {
	if n == 0 {
		return nil
	}
	l.begin()
	for i, g := range l.groups {
		for _, s := range l.segments[:n] {
			g.compact(min(s.last[i], g.last()))
		}
		if err := l.addState(g); err != nil {
			return err
		}
	}
	if err := l.commit(0); err != nil {
		return err
	}
	old := l.segments[:n]
	l.segments = append([]*segment(nil), l.segments[n:]...)
	return l.recycle(old)
}

// recycle makes spares of segments that are not needed any more: writing again what is allocated
// costs the filesystem less than allocating.
func (l *diskLog) recycle(old []*segment) error {
	var errs []error
	var renamed []string
	for _, s := range old {
		s.close()
		if len(l.spares)+len(renamed) >= keptSpares || s.size != l.segmentBytes {
			errs = append(errs, removeIfThere(s.path))
			continue
		}
		l.spareID++
		path := sparePath(l.dir, l.spareID)
		errs = append(errs, os.Rename(s.path, path))
		renamed = append(renamed, path)
	}
	// No file may lose its first batch while a crash could still bring its old name back.
	errs = append(errs, directio.SyncDir(l.dir))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, path := range renamed {
		sp, err := cleanSpare(path)
		if err != nil {
			return err
		}
		l.spares = append(l.spares, sp)
	}
	return nil
}
