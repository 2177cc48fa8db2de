package raftgroup

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"kintsugi/internal/directio"
)

// logConfig is what openLog needs.
type logConfig struct {
	dir          string
	host         uint64
	groups       int
	segmentBytes int64
	limitBytes   int64
	logger       *slog.Logger
	disk         disk
}

// disk is what can fail: the writes of the log. Tests put faults in its place.
type disk struct {
	write func(f *os.File, p []byte, off int64) error
	sync  func(f *os.File) error
	spare func(dir string, n uint64, size int64) (spare, error)
}

func realDisk() disk {
	return disk{
		write: func(f *os.File, p []byte, off int64) error {
			_, err := f.WriteAt(p, off)
			return err
		},
		sync:  directio.Datasync,
		spare: makeSpare,
	}
}

// diskLog is the log of all groups of a host. It is used by one goroutine; after an error of
// commit nothing more may be written.
type diskLog struct {
	logConfig
	groups   []*groupLog
	segments []*segment // oldest first, the last one is written
	file     *os.File   // of the last segment
	end      int64      // in it, bytes
	dirty    bool       // old batches may follow in it
	sequence uint64     // of the last batch
	unmarked bool       // the last batch has records: no later one says yet that it was durable
	batch    batch
	placed   []placed

	spares    []spare
	spareID   uint64
	preparing chan preparedSpare // nil unless a spare is being made
	full      bool               // there was no room for a spare
	tasks     sync.WaitGroup
}

// placed is an entry of the batch that is being filled.
type placed struct {
	group        *groupLog
	entry        *raftpb.Entry
	offset, size int
}

type preparedSpare struct {
	spare spare
	err   error
}

// begin starts a batch.
func (l *diskLog) begin() {
	l.batch.begin()
	clear(l.placed)
	l.placed = l.placed[:0]
}

func (l *diskLog) addEntry(g *groupLog, e *raftpb.Entry) {
	offset, size := l.batch.add(recordOf(g.id, e))
	l.placed = append(l.placed, placed{g, e, offset, size})
}

func (l *diskLog) addHardState(g *groupLog, hs *raftpb.HardState) {
	var vote [8]byte
	binary.LittleEndian.PutUint64(vote[:], hs.GetVote())
	l.batch.add(record{group: g.id, kind: kindHardState, index: hs.GetCommit(), term: hs.GetTerm(), data: vote[:]})
}

func (l *diskLog) addStart(g *groupLog, index, term uint64) {
	l.batch.add(record{group: g.id, kind: kindStart, index: index, term: term})
}

func (l *diskLog) addMembers(g *groupLog, m *members) error {
	data, err := proto.Marshal(m.state)
	if err != nil {
		return fmt.Errorf("encode members: %w", err)
	}
	l.batch.add(record{group: g.id, kind: kindMembers, index: m.index, term: m.term, data: data})
	return nil
}

// addState repeats all that is known of g beside its entries.
func (l *diskLog) addState(g *groupLog) error {
	l.addStart(g, g.start, g.startTerm)
	if g.hard != nil {
		l.addHardState(g, g.hard)
	}
	if g.members != nil {
		return l.addMembers(g, g.members)
	}
	return nil
}

// commit writes the batch and makes it durable. Then its entries belong to their groups.
func (l *diskLog) commit(flags uint16) error {
	if err := l.write(flags); err != nil {
		return err
	}
	if err := l.disk.sync(l.file); err != nil {
		return fmt.Errorf("sync raft log: %w", err)
	}
	if err := l.present(); err != nil {
		return err
	}
	l.unmarked = l.batch.records > 0
	s := l.segments[len(l.segments)-1]
	base := l.end - l.batch.size()
	for _, p := range l.placed {
		s.last[p.group.id] = max(s.last[p.group.id], p.entry.GetIndex())
		r := ref{segment: s, offset: uint32(base) + uint32(p.offset), length: uint32(p.size), term: p.entry.GetTerm()}
		if err := p.group.append(p.entry, r); err != nil {
			return err
		}
	}
	return nil
}

// write puts the batch behind the last one, in the next segment if it does not fit.
func (l *diskLog) write(flags uint16) error {
	n := l.batch.size() + directio.BlockSize
	if l.file == nil || l.end+n > l.segments[len(l.segments)-1].size {
		if err := l.rotate(n); err != nil {
			return fmt.Errorf("next segment of raft log: %w", err)
		}
	}
	l.sequence++
	p := l.batch.seal(l.host, l.segments[len(l.segments)-1].id, l.sequence, flags, l.dirty)
	if err := l.disk.write(l.file, p, l.end); err != nil {
		return fmt.Errorf("write raft log: %w", err)
	}
	l.end += l.batch.size()
	return nil
}

// mark proves the last batch durable to a later recovery by a batch behind it, when there is nothing else to write.
func (l *diskLog) mark() error {
	if !l.unmarked {
		return nil
	}
	l.begin()
	return l.commit(0)
}

// present fails if the file that is written was unlinked: what was written to it is lost with the process.
func (l *diskLog) present() error {
	if l.file == nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(l.file.Fd()), &st); err != nil {
		return fmt.Errorf("stat raft log: %w", err)
	}
	if st.Nlink == 0 {
		return fmt.Errorf("raft log: %w", ErrVanished)
	}
	return nil
}

// bytes returns what the segments take on disk.
func (l *diskLog) bytes() int64 {
	var n int64
	for _, s := range l.segments {
		n += s.size
	}
	return n
}

// close writes the mark of a clean end, unless the log failed, and gives back the files.
func (l *diskLog) close(clean bool) error {
	var err error
	if clean && l.file != nil {
		l.begin()
		err = l.commit(flagClosed)
	}
	l.tasks.Wait()
	for _, s := range l.segments {
		s.close()
	}
	if l.file != nil {
		if cerr := l.file.Close(); err == nil {
			err = cerr
		}
	}
	return err
}
