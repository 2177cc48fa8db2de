package audit

import (
	"context"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"

	"kintsugi/placement"
)

// Summary is what an audit says in short. Its JSON is what `kintsugi audit --json` prints.
type Summary struct {
	Drives []DriveSummary `json:"drives"`
	Chunks uint64         `json:"chunks"` // with at least one healthy shard, but for those that were deleted
	Bytes  uint64         `json:"bytes"`  // of the chunks before coding
	// Live counts the chunks that can be read by the number of their healthy shards.
	Live map[int]uint64 `json:"live"`
	// Lost counts the chunks that can be read by the number of shards that they lack.
	Lost       map[int]uint64 `json:"lost"`
	Whole      uint64         `json:"whole"`      // lack nothing
	AtRisk     uint64         `json:"atRisk"`     // could not be read after one more loss
	Unreadable uint64         `json:"unreadable"` // fewer than k healthy shards on these drives
	Deleted    uint64         `json:"deleted"`    // deleted chunks of which a shard is left somewhere
	Copies     uint64         `json:"copies"`     // healthy shards beyond the first of their kind
	Damaged    uint64         `json:"damaged"`    // shards whose checksums do not match
	Disputed   uint64         `json:"disputed"`   // chunks whose shards disagree about the code or the size
}

// DriveSummary is what was found on one drive.
type DriveSummary struct {
	Dir        string `json:"dir"`
	Drive      string `json:"drive"` // its id, zero if there is no segment that tells
	Segments   int    `json:"segments"`
	Records    uint64 `json:"records"`
	Shards     uint64 `json:"shards"`  // healthy
	Bytes      uint64 `json:"bytes"`   // of their payloads
	Damaged    uint64 `json:"damaged"` // shards whose checksums do not match
	Tombstones uint64 `json:"tombstones"`

	id placement.DriveID
}

// ChunkID names a chunk.
type ChunkID struct {
	Blob  placement.BlobID
	Chunk uint32
}

// State of a shard on a drive.
type State uint8

const (
	Healthy State = iota
	Damaged       // a checksum does not match
	Deleted       // a tombstone forbids it
)

// Shard is one that was found.
type Shard struct {
	Index uint8
	State State
	Drive int // in Report.Drives
	Size  uint32

	k, m      uint8
	chunkSize uint32
}

// Report is all that an audit found.
type Report struct {
	Drives []DriveSummary
	Chunks map[ChunkID][]Shard
}

// drivesAtOnce are read beside each other.
const drivesAtOnce = 4

// Audit reads the drives in dirs and sums up what is there. progress, which may be nil, is told how many bytes have been read
// of how many, from one goroutine at a time.
func Audit(ctx context.Context, dirs []string, progress func(done, total int64)) (Summary, error) {
	r, err := Read(ctx, dirs, progress)
	if err != nil {
		return Summary{}, err
	}
	return r.Summary(), nil
}

// Read is Audit with every shard.
func Read(ctx context.Context, dirs []string, progress func(done, total int64)) (*Report, error) {
	p, err := newMeter(dirs, progress)
	if err != nil {
		return nil, err
	}
	drives := make([]*drive, len(dirs))
	reading, ctx := errgroup.WithContext(ctx)
	reading.SetLimit(drivesAtOnce)
	for i, dir := range dirs {
		reading.Go(func() (err error) {
			drives[i], err = readDrive(ctx, dir, p.add)
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	p.add(p.total)
	r := &Report{Chunks: map[ChunkID][]Shard{}}
	seen := map[placement.DriveID]string{}
	for i, d := range drives {
		if other, ok := seen[d.id]; ok && !d.id.IsZero() {
			return nil, fmt.Errorf("audit: %s and %s are of the same drive %s", other, d.Dir, d.id)
		}
		seen[d.id] = d.Dir
		r.Drives = append(r.Drives, d.DriveSummary)
		for id, l := range d.shards {
			chunk := ChunkID{id.Blob, id.Chunk}
			r.Chunks[chunk] = append(r.Chunks[chunk], l.shard(i))
		}
	}
	return r, nil
}

func (l last) shard(drive int) Shard {
	s := Shard{Index: l.id.Index, Drive: drive, Size: l.size, k: l.k, m: l.m, chunkSize: l.chunkSize}
	switch {
	case l.kind == kindTombstone:
		s.State = Deleted
	case !l.intact:
		s.State = Damaged
	}
	return s
}

// Summary sums up.
func (r *Report) Summary() Summary {
	s := Summary{Drives: r.Drives, Live: map[int]uint64{}, Lost: map[int]uint64{}}
	for _, d := range r.Drives {
		s.Damaged += d.Damaged
	}
	for _, shards := range r.Chunks {
		s.add(shards)
	}
	return s
}

// add takes one chunk in.
func (s *Summary) add(shards []Shard) {
	var present, buried [256]bool
	live, copies := 0, uint64(0)
	var one *Shard
	for i := range shards {
		x := &shards[i]
		switch {
		case x.State == Deleted:
			buried[x.Index] = true
		case x.State == Damaged:
		case present[x.Index]:
			copies++
		default:
			present[x.Index] = true
			live++
			if one != nil && (one.k != x.k || one.m != x.m || one.chunkSize != x.chunkSize || one.Size != x.Size) {
				s.Disputed++
			}
			one = x
		}
	}
	if live == 0 {
		return // nothing but tombstones and damage: how many shards are damaged is told elsewhere
	}
	for i := range buried {
		if buried[i] && !present[i] {
			s.Deleted++
			return
		}
	}
	s.Copies += copies
	s.Chunks++
	s.Bytes += uint64(one.chunkSize)
	if live < int(one.k) {
		s.Unreadable++
		return
	}
	lost := max(0, int(one.k)+int(one.m)-live)
	s.Live[live]++
	s.Lost[lost]++
	if lost == 0 {
		s.Whole++
	}
	if live == int(one.k) {
		s.AtRisk++
	}
}

// meter tells how far the reading is.
type meter struct {
	mu       sync.Mutex // guards done and calls of progress
	done     int64
	total    int64
	progress func(done, total int64)
}

func newMeter(dirs []string, progress func(done, total int64)) (*meter, error) {
	m := &meter{progress: progress}
	for _, dir := range dirs {
		names, err := segmentNames(dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if st, err := os.Stat(name); err == nil {
				m.total += st.Size()
			}
		}
	}
	return m, nil
}

// add notes bytes that were read; those that are read twice count once at the end.
func (m *meter) add(bytes int64) {
	if m.progress == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = min(m.done+bytes, m.total)
	m.progress(m.done, m.total)
}
