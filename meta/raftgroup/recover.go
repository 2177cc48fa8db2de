package raftgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"kintsugi/internal/directio"
)

// recovery is what the scan of the segments found.
type recovery struct {
	log      *diskLog
	doubtful bool // the log ends in something that is neither a batch nor nothing
	closed   bool // the last batch is the mark of a clean end
	found    bool // there is a batch
}

// openLog reads the log in cfg.dir. The returned log goes on in a new segment, so that no torn batch is ever
// written over. If doubtful, the last batch is torn or damaged and was left out: if it is torn, it was never
// acknowledged; if it is damaged, it may have been. A batch that is damaged elsewhere gives ErrDamaged.
//
// What cannot be detected here: whole batches at the end that read as zeros again, as if they had never been
// written (a drive that lies about its syncs), and a newest segment whose file was removed.
func openLog(cfg logConfig) (l *diskLog, doubtful bool, err error) {
	if err := os.MkdirAll(cfg.dir, 0o700); err != nil {
		return nil, false, err
	}
	if err := directio.SyncDir(filepath.Dir(cfg.dir)); err != nil {
		return nil, false, err
	}
	l = &diskLog{logConfig: cfg, groups: make([]*groupLog, cfg.groups)}
	for i := range l.groups {
		l.groups[i] = &groupLog{id: uint32(i)}
	}
	ids, spares, err := listSegments(cfg.dir)
	if err != nil {
		return nil, false, err
	}
	r := recovery{log: l}
	for _, id := range ids {
		if err := r.scan(id); err != nil {
			l.close(false)
			return nil, false, fmt.Errorf("segment %x: %w", id, err)
		}
	}
	if err := r.check(); err != nil {
		l.close(false)
		return nil, false, err
	}
	if err := l.adoptSpares(spares); err != nil {
		l.close(false)
		return nil, false, err
	}
	l.prepareSpare()
	return l, r.doubtful, nil
}

// empty tells whether the log was never written.
func (l *diskLog) empty() bool { return l.sequence == 0 }

// scan reads one segment and continues the chain of batches with it.
func (r *recovery) scan(id uint64) error {
	l := r.log
	path := segmentPath(l.dir, id)
	p, err := readSegment(path)
	if err != nil {
		return err
	}
	s := newSegment(l.dir, id, int64(len(p)), len(l.groups))
	l.segments = append(l.segments, s)
	end, err := r.chain(s, p)
	if err != nil {
		return err
	}
	rest := p[end:]
	if later := laterBatch(rest, l.host, id, l.sequence); later > 0 {
		return fmt.Errorf("batch after %d unreadable, %d is there: %w", l.sequence, later, ErrDamaged)
	}
	// A block is always left behind the last batch: without it the file was cut short.
	torn := len(rest) == 0 || !isZero(rest[:directio.BlockSize])
	if torn && !(r.closed && end > 0) {
		r.doubtful = true
	}
	return nil
}

// chain applies the batches from the start of the segment p on and returns where they end.
func (r *recovery) chain(s *segment, p []byte) (end int64, err error) {
	l := r.log
	for end < int64(len(p)) {
		h, err := decodeBatchHeader(p[end:])
		if errors.Is(err, ErrForeign) {
			return end, err
		}
		if err != nil || h.segment != s.id {
			return end, nil
		}
		if h.host != l.host {
			return end, fmt.Errorf("log of replica %d: %w", h.host, ErrForeign)
		}
		if r.found && h.sequence != l.sequence+1 {
			return end, fmt.Errorf("batch %d after %d: %w", h.sequence, l.sequence, ErrDamaged)
		}
		if !r.found && r.doubtful {
			return end, fmt.Errorf("batches before %d are lost: %w", h.sequence, ErrDamaged)
		}
		if !batchIntact(p[end:]) {
			return end, nil
		}
		if _, err := decodeBatch(p[end:], func(rec record, offset, size int) error {
			return r.apply(s, rec, end+int64(offset), size)
		}); err != nil {
			return end, err
		}
		// A valid batch proves all before it: what looked torn was cut by an earlier recovery.
		r.found, r.closed, r.doubtful = true, h.flags&flagClosed != 0, false
		l.sequence = h.sequence
		end += h.size()
	}
	return end, nil
}

// batchIntact verifies a batch before any of it is applied.
func batchIntact(p []byte) bool {
	_, err := decodeBatch(p, func(record, int, int) error { return nil })
	return err == nil
}

// apply executes one record.
func (r *recovery) apply(s *segment, rec record, offset int64, size int) error {
	if rec.group >= uint32(len(r.log.groups)) {
		return fmt.Errorf("group %d: %w", rec.group, ErrDamaged)
	}
	g := r.log.groups[rec.group]
	switch rec.kind {
	case kindHardState:
		if len(rec.data) != 8 {
			return fmt.Errorf("hard state of group %d: %w", rec.group, ErrDamaged)
		}
		g.hard = &raftpb.HardState{Term: new(rec.term), Vote: new(binary.LittleEndian.Uint64(rec.data)), Commit: new(rec.index)}
	case kindStart:
		g.replayStart(rec.index, rec.term)
	case kindMembers:
		state := &raftpb.ConfState{}
		if err := proto.Unmarshal(rec.data, state); err != nil {
			return fmt.Errorf("members of group %d: %w", rec.group, errors.Join(ErrDamaged, err))
		}
		g.members = &members{index: rec.index, term: rec.term, state: raftpb.EnsureConfState(state)}
	default:
		s.last[rec.group] = max(s.last[rec.group], rec.index)
		return g.replayEntry(rec.index, ref{segment: s, offset: uint32(offset), length: uint32(size), term: rec.term})
	}
	return nil
}

// replayStart is startAt while the log is read. Of a log whose oldest segments were dropped, the first entries
// come before the record that says where it begins now; older such records are void.
func (g *groupLog) replayStart(index, term uint64) {
	if !g.started && len(g.refs) > 0 && index < g.start {
		return
	}
	g.startAt(index, term)
}

// replayEntry places an entry while the log is read. After a gap only a later start record can make the log whole.
func (g *groupLog) replayEntry(index uint64, r ref) error {
	if index == 0 {
		return fmt.Errorf("entry 0 of group %d: %w", g.id, ErrDamaged)
	}
	fresh := !g.started && (len(g.refs) == 0 || index <= g.start)
	if fresh || index > g.last()+1 {
		g.started = false
		g.start, g.startTerm, g.refs = index-1, 0, nil
	}
	return g.place(index, r)
}

// check fails unless every group's log is whole.
func (r *recovery) check() error {
	if !r.found {
		return nil
	}
	for i, g := range r.log.groups {
		if !g.started {
			return fmt.Errorf("group %d: entries before %d are missing: %w", i, g.start+1, ErrDamaged)
		}
	}
	return nil
}

// adoptSpares keeps a few of the files that are ready to be written and removes the others.
func (l *diskLog) adoptSpares(paths []string) error {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if len(l.spares) >= keptSpares || info.Size() != l.segmentBytes {
			if err := removeIfThere(path); err != nil {
				return err
			}
			continue
		}
		l.spareID++
		for sparePath(l.dir, l.spareID) != path && exists(sparePath(l.dir, l.spareID)) {
			l.spareID++
		}
		named := sparePath(l.dir, l.spareID)
		if err := os.Rename(path, named); err != nil {
			return err
		}
		sp, err := cleanSpare(named)
		if err != nil {
			return err
		}
		l.spares = append(l.spares, sp)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// readSegment reads a whole segment file in blocks; a length that is not a multiple of the block size is damage.
func readSegment(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size()%directio.BlockSize != 0 || info.Size() > 1<<32-1 {
		return nil, fmt.Errorf("%d bytes long: %w", info.Size(), ErrDamaged)
	}
	p := make([]byte, info.Size())
	_, err = io.ReadFull(f, p)
	return p, err
}

// laterBatch returns the sequence of a batch of this segment in p that can only have been written after the
// one behind last was durable, or 0.
func laterBatch(p []byte, host, segment, last uint64) uint64 {
	for ; len(p) >= directio.BlockSize; p = p[directio.BlockSize:] {
		if string(p[:4]) != batchMagic {
			continue
		}
		h, err := decodeBatchHeader(p)
		if err == nil && h.host == host && h.segment == segment && h.sequence > last+1 {
			return h.sequence
		}
	}
	return 0
}

func isZero(p []byte) bool { return len(bytes.TrimLeft(p, "\x00")) == 0 }
