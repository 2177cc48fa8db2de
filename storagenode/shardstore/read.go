package shardstore

import (
	"context"
	"errors"
	"os"
	"sync"

	"kintsugi/internal/directio"
	"kintsugi/placement"
)

// ReadAt fills p with the shard's bytes from off on. Every block that it touches
// is verified first, together with the header: it returns the bytes that were
// written, or an error.
func (s *Store) ReadAt(ctx context.Context, id placement.ShardID, p []byte, off int64) error {
	if err := s.usable(ctx); err != nil {
		return s.wrap(id, err)
	}
	return s.wrap(id, s.readAt(id, p, off))
}

// readTries bounds how often a read follows a record that compaction moves.
const readTries = 4

func (s *Store) readAt(id placement.ShardID, p []byte, off int64) error {
	for range readTries {
		e := s.index.get(id)
		switch e.state {
		case stateCorrupt:
			return ErrCorrupt
		case stateLive:
		default:
			return ErrNotFound
		}
		if off < 0 || off+int64(len(p)) > int64(e.size) {
			return ErrRange
		}
		err := s.readEntry(&e, p, off)
		if err == nil {
			s.stats.read(len(p))
			return nil
		}
		if now := s.index.get(id); now.gen == e.gen && now.off == e.off {
			return s.condemn(e, err)
		}
	}
	return ErrCorrupt
}

// condemn remembers that a record is damaged.
func (s *Store) condemn(e entry, err error) error {
	if s.usable(context.Background()) != nil {
		return ErrFailed // closing has taken the file away
	}
	if isTransient(err) {
		return err
	}
	if s.index.markCorrupt(e) {
		s.stats.corrupt.Add(1)
	}
	return ErrCorrupt
}

// readEntry reads through the page cache and, when that does not match, once more
// past it: a page may have been cached while its record was being written.
func (s *Store) readEntry(e *entry, p []byte, off int64) error {
	seg := s.segmentOf(e.gen)
	if seg == nil {
		return errFormat
	}
	defer seg.release()
	r := reader{disk: s.disk, file: seg.read, drive: s.drive, entry: e}
	if err := r.read(p, off); err == nil {
		return nil
	}
	whole, err := s.readDirect(seg, e)
	if err != nil {
		return err
	}
	copy(p, whole[payloadOffset(int64(e.size))+off:])
	return nil
}

// readDirect reads and verifies a whole record from the medium, not from memory.
func (s *Store) readDirect(seg *segment, e *entry) ([]byte, error) {
	first := int64(e.off) &^ (directio.BlockSize - 1)
	skip := int64(e.off) - first
	buf := directio.Buffer(int(directio.Align(skip + e.length())))
	if err := s.disk.read(seg.write, [][]byte{buf}, first); err != nil {
		return nil, err
	}
	return verified(buf[skip:skip+e.length()], e, s.drive)
}

// verified checks a whole record.
func verified(rec []byte, e *entry, drive uint64) ([]byte, error) {
	var r record
	if err := r.decode(rec, drive); err != nil {
		return nil, err
	}
	table := rec[headerSize:payloadOffset(int64(e.size))]
	if !e.matches(&r) || !r.checkTable(table) {
		return nil, errFormat
	}
	at := payloadOffset(int64(e.size))
	if !r.checkBlocks(table, 0, rec[at:at+int64(e.size)]) {
		return nil, errFormat
	}
	return rec, nil
}

// matches tells whether r is the very record that the index means.
func (e *entry) matches(r *record) bool {
	return r.ID == e.id() && r.size == e.size && r.seq == e.seq && r.gen == e.gen && r.off == e.off
}

// reader reads from one record.
type reader struct {
	disk  disk
	file  *os.File
	drive uint64
	entry *entry
	table []byte // verified
	rec   record
}

// scratch is memory for the head of a record or for a block of which only a part is wanted.
var scratch = sync.Pool{New: func() any { b := make([]byte, checksumBlock); return &b }}

var errMismatch = errors.New("checksum mismatch")

// read fills p from off. For a whole shard that is one call to the system, which
// reads the head beside and the payload right into p.
func (r *reader) read(p []byte, off int64) error {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	size := int64(r.entry.size)
	head := (*buf)[:payloadOffset(size)]
	at := int64(r.entry.off)
	if off == 0 && int64(len(p)) == size {
		if err := r.disk.read(r.file, [][]byte{head, p}, at); err != nil {
			return err
		}
		if err := r.checkHead(head); err != nil {
			return err
		}
		return r.check(0, p)
	}
	if err := r.disk.read(r.file, [][]byte{head}, at); err != nil {
		return err
	}
	if err := r.checkHead(head); err != nil {
		return err
	}
	return r.readRange(p, off)
}

// checkHead verifies header and table, and that they are of the shard that was asked for.
func (r *reader) checkHead(head []byte) error {
	if err := r.rec.decode(head, r.drive); err != nil {
		return err
	}
	if !r.entry.matches(&r.rec) || !r.rec.checkTable(head[headerSize:]) {
		return errMismatch
	}
	r.table = head[headerSize:]
	return nil
}

func (r *reader) check(first int, p []byte) error {
	if !r.rec.checkBlocks(r.table, first, p) {
		return errMismatch
	}
	return nil
}

// readRange reads the blocks that p touches: whole ones into p itself, the ends beside it.
func (r *reader) readRange(p []byte, off int64) error {
	size := int64(r.entry.size)
	payload := int64(r.entry.off) + payloadOffset(size)
	for len(p) > 0 {
		first := off / checksumBlock
		start := first * checksumBlock
		if whole := r.wholeBlocks(off, len(p)); whole > 0 {
			if err := r.disk.read(r.file, [][]byte{p[:whole]}, payload+start); err != nil {
				return err
			}
			if err := r.check(int(first), p[:whole]); err != nil {
				return err
			}
			p, off = p[whole:], off+int64(whole)
			continue
		}
		n, err := r.readPart(p, off, payload)
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// wholeBlocks is how many bytes of p are complete blocks from off on.
func (r *reader) wholeBlocks(off int64, n int) int {
	if off%checksumBlock != 0 {
		return 0
	}
	if off+int64(n) == int64(r.entry.size) {
		return n
	}
	return n - n%checksumBlock
}

// readPart reads the block around off beside p and copies what is wanted of it.
func (r *reader) readPart(p []byte, off, payload int64) (int, error) {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	start := off - off%checksumBlock
	block := (*buf)[:min(checksumBlock, int64(r.entry.size)-start)]
	if err := r.disk.read(r.file, [][]byte{block}, payload+start); err != nil {
		return 0, err
	}
	if err := r.check(int(start/checksumBlock), block); err != nil {
		return 0, err
	}
	return copy(p, block[off-start:]), nil
}

// Stat tells what the shard is, from memory.
func (s *Store) Stat(ctx context.Context, id placement.ShardID) (Info, error) {
	if err := s.usable(ctx); err != nil {
		return Info{}, s.wrap(id, err)
	}
	e := s.index.get(id)
	switch e.state {
	case stateLive:
		return e.info(), nil
	case stateCorrupt:
		return Info{}, s.wrap(id, ErrCorrupt)
	case stateTombstone:
		return Info{}, s.wrap(id, ErrDeleted)
	}
	return Info{}, s.wrap(id, ErrNotFound)
}

// List returns at most limit healthy shards of a partition that come after the
// given one, in order of blob, chunk and index.
func (s *Store) List(ctx context.Context, partition uint32, after placement.ShardID, limit int) ([]Info, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	return s.index.list(partition, after, limit), nil
}

// Digest sums up the chunks of a partition of which a healthy shard is here.
func (s *Store) Digest(ctx context.Context, partition uint32) (Digest, error) {
	if err := s.usable(ctx); err != nil {
		return Digest{}, err
	}
	return s.index.digestOf(partition), nil
}

// Digests sums up many partitions.
func (s *Store) Digests(ctx context.Context, partitions []uint32) ([]Digest, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	return s.index.digestsOf(partitions), nil
}

// Usage tells what the store takes and holds.
func (s *Store) Usage() Usage {
	var u Usage
	s.index.usage(&u)
	s.space(&u)
	s.mu.Lock()
	u.Full = s.full
	s.mu.Unlock()
	for _, seg := range s.allSegments() {
		s.mu.Lock()
		u.UsedBytes += uint64(seg.next)
		s.mu.Unlock()
		u.Segments++
		seg.release()
	}
	return u
}
