package shardstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"kintsugi/internal/directio"
)

// crashSegments is how many segments without a hint may have been written to
// when the store stopped: the active one, the reserve, and those of a few earlier
// crashes that were not sealed yet. Their payloads are read, for a torn record's
// header may be whole. Of more, whose hints must have been lost, only headers are.
const crashSegments = 8

// sequenceGap is left after a crash, so that no number is used twice even if the
// last records are not found again.
const sequenceGap = 1 << 20

// recovered is what opening a segment brought to light.
type recovered struct {
	seg     *segment
	hinted  bool
	trailer hintTrailer
	found   int // records behind what the hint lists
}

// recovery is the state of one opening.
type recovery struct {
	*Store
	damaged []record // headers whose payload does not match
	durable uint64
	records int
}

// recover builds the index out of the segments.
func (s *Store) recover() error {
	r := &recovery{Store: s}
	list, err := r.openSegments()
	if err != nil {
		return err
	}
	begin := time.Now()
	for i := range list {
		if err := r.load(&list[i]); err != nil {
			return err
		}
	}
	crashed, unhinted := 0, 0
	for i := len(list) - 1; i >= 0; i-- { // newest first
		verify := !list[i].hinted && unhinted < crashSegments
		if err := r.scan(&list[i], verify); err != nil {
			return err
		}
		if !list[i].hinted && list[i].found > 0 {
			unhinted++
		}
		if list[i].found > 0 {
			crashed++
		}
	}
	lost := r.settleDamaged()
	if crashed > 0 {
		s.seq += sequenceGap
	}
	s.index.expireAll(s.tombstoneLimit())
	for i := range list {
		if err := r.assign(&list[i]); err != nil {
			return err
		}
	}
	level := slog.LevelInfo
	if len(list) == 0 {
		level = slog.LevelDebug // a new drive
	}
	s.log.Log(context.Background(), level, "shard store recovered", slog.Int("segments", len(list)), slog.Int("scanned", crashed),
		slog.Int("records", r.records), slog.Int("lost", lost), slog.Duration("took", time.Since(begin)))
	return nil
}

// openSegments opens the segment files in order of generation and removes what
// an interrupted list left behind.
func (r *recovery) openSegments() ([]recovered, error) {
	names, err := r.dirFile.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var list []recovered
	var hints []string // names of their segments
	for _, name := range names {
		if strings.HasSuffix(name.Name(), tempSuffix) {
			if err := removeFile(r.root, name.Name()); err != nil {
				return nil, err
			}
			continue
		}
		if segment, ok := strings.CutSuffix(name.Name(), hintSuffix); ok {
			hints = append(hints, segment)
			continue
		}
		if _, ok := parseSegmentName(name.Name()); !ok {
			continue
		}
		seg, err := r.openSegment(name.Name())
		if err != nil {
			return nil, err
		}
		if seg == nil {
			continue
		}
		r.gen = max(r.gen, seg.gen)
		r.addSegment(seg)
		list = append(list, recovered{seg: seg})
	}
	slices.SortFunc(list, func(a, b recovered) int { return cmp.Compare(a.seg.gen, b.seg.gen) })
	for i := 1; i < len(list); i++ {
		if list[i].seg.gen == list[i-1].seg.gen {
			return nil, fmt.Errorf("segments %s and %s have the same generation", list[i].seg.name, list[i-1].seg.name)
		}
	}
	return list, r.removeOrphans(hints, list)
}

// removeOrphans removes lists whose segment is gone. One of them must never meet
// a new segment of the same generation.
func (r *recovery) removeOrphans(hints []string, list []recovered) error {
	for _, name := range hints {
		if slices.ContainsFunc(list, func(rc recovered) bool { return rc.seg.name == name }) {
			continue
		}
		if number, ok := parseSegmentName(name); ok {
			r.gen = max(r.gen, number)
			if err := removeFile(r.root, name+hintSuffix); err != nil {
				return err
			}
		}
	}
	return nil
}

// openSegment opens one segment. It returns nil for a file in which there is nothing.
func (r *recovery) openSegment(name string) (*segment, error) {
	seg, err := r.openFiles(name, 0)
	if err != nil {
		return nil, err
	}
	if number, ok := parseSegmentName(name); ok {
		r.gen = max(r.gen, number) // names of recycled files are not used again either
	}
	st, err := seg.read.Stat()
	if err != nil {
		seg.close()
		return nil, err
	}
	head, err := r.readHead(seg, st.Size())
	if err == nil && head.drive != r.cfg.Drive {
		err = fmt.Errorf("%w: %s is of %s", ErrForeign, name, head.drive)
	}
	if err != nil {
		seg.close()
		if errors.Is(err, errFormat) {
			return nil, r.passOver(name, st.Size())
		}
		return nil, err
	}
	seg.gen, seg.capacity = head.gen, head.capacity
	seg.next, seg.allocated = segmentHeadSize, st.Size()
	return seg, nil
}

// passOver leaves a file alone in which nothing was recognised. Only the remains of
// a segment that was just being made are removed.
func (r *recovery) passOver(name string, size int64) error {
	if size > segmentHeadSize {
		r.log.Warn("segment not recognised", slog.String("name", name), slog.Int64("bytes", size))
		return nil
	}
	return removeFile(r.root, name)
}

// readHead reads the head, or infers it from the records if both copies are damaged.
func (r *recovery) readHead(seg *segment, size int64) (segmentHead, error) {
	buf := make([]byte, min(segmentHeadSize, size))
	if err := r.disk.read(seg.read, [][]byte{buf}, 0); err == nil {
		if head, err := decodeSegmentHead(buf); err == nil || errors.Is(err, ErrVersion) {
			return head, err
		}
	}
	head := segmentHead{drive: r.cfg.Drive, capacity: max(r.cfg.SegmentSize, directio.Align(size))}
	sc := scanner{disk: r.disk, file: seg.read, drive: r.drive, each: func(rec *record, _ bool) {
		head.gen = max(head.gen, rec.gen) // lower ones are of earlier uses of the file
	}}
	if _, err := sc.run(segmentHeadSize); err != nil {
		return head, err
	}
	if head.gen == 0 {
		return head, errFormat
	}
	return head, nil
}

// load applies the records that the segment's hint lists.
func (r *recovery) load(rc *recovered) error {
	t, err := readHint(r.root, rc.seg.name+hintSuffix, r.drive, rc.seg.gen, r.apply)
	if err != nil {
		return nil // it is scanned instead
	}
	rc.hinted, rc.trailer = true, t
	rc.seg.next = t.end
	r.seq = max(r.seq, t.maxSeq)
	r.durable = max(r.durable, t.durable)
	return nil
}

// apply takes one record into the index.
func (r *recovery) apply(rec *record) {
	r.records++
	r.seq = max(r.seq, rec.seq)
	r.durable = max(r.durable, rec.durable)
	_ = r.index.apply(rec) // a put that a tombstone forbids is simply dead
}

// scan applies the records behind what the hint lists.
func (r *recovery) scan(rc *recovered, verify bool) error {
	if rc.hinted && rc.trailer.sealed {
		return nil
	}
	seg := rc.seg
	sc := scanner{disk: r.disk, file: seg.read, drive: r.drive, gen: seg.gen, verify: verify || rc.hinted}
	sc.each = func(rec *record, sound bool) {
		rc.found++
		seg.next = max(seg.next, int64(rec.off)+rec.length())
		if !sound {
			r.seq = max(r.seq, rec.seq)
			r.durable = max(r.durable, rec.durable)
			r.damaged = append(r.damaged, *rec)
			return
		}
		r.apply(rec)
	}
	_, err := sc.run(seg.next)
	return err
}

// settleDamaged decides about records whose header is whole and whose payload is
// not. Those that had been durable are lost shards, to be told and to be written
// anew; the others were torn by the crash, and nobody was told that they exist.
func (r *recovery) settleDamaged() (lost int) {
	for i := range r.damaged {
		rec := &r.damaged[i]
		if rec.seq > r.durable || rec.kind != kindPut {
			continue
		}
		r.index.addCorrupt(rec)
		lost++
	}
	return lost
}

// assign decides what the segment is from now on. The writes go on in a segment
// only if the store was closed properly: after a crash there may be remains of
// torn writes behind its end.
func (r *recovery) assign(rc *recovered) error {
	seg := rc.seg
	seg.next = directio.Align(seg.next)
	empty := seg.next == segmentHeadSize && rc.found == 0
	switch {
	case empty && seg.capacity <= r.cfg.ReserveBytes && r.reserve == nil && seg.allocated >= seg.capacity:
		r.reserve = seg
	case empty && seg.capacity == r.cfg.SegmentSize && r.spare == nil:
		r.spare = seg
	case empty:
		return r.discard(seg)
	case rc.hinted && !rc.trailer.sealed && rc.found == 0 && r.active == nil && seg.capacity == r.cfg.SegmentSize:
		r.active, seg.resumed = seg, true
	case rc.hinted && rc.trailer.sealed:
		seg.retired = true
		seg.sealed.Store(true)
	default:
		seg.retired = true // to be sealed in the background
	}
	return nil
}

// discard removes a segment in which nothing is needed.
func (s *Store) discard(seg *segment) error {
	if err := removeFile(s.root, seg.name+hintSuffix); err != nil {
		return err
	}
	if err := removeFile(s.root, seg.name); err != nil {
		return err
	}
	// A name that comes back after a power cut could bring back what a tombstone,
	// forgotten meanwhile, had forbidden.
	if err := s.dirFile.Sync(); err != nil {
		return err
	}
	s.forgetSegment(seg.gen)
	seg.release()
	return nil
}

// tombstoneLimit is the time before which tombstones are old enough to go.
func (s *Store) tombstoneLimit() uint32 {
	limit := time.Now().Add(-s.cfg.TombstoneAge).Unix()
	return uint32(min(max(limit, 0), math.MaxUint32))
}
