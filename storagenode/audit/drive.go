package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kintsugi/placement"
)

// drive is what was found on one.
type drive struct {
	DriveSummary
	shards map[placement.ShardID]last
}

// last is the record of a shard that counts.
type last struct {
	record
	intact bool
}

// tries bounds how often a drive is read again because its store used a file anew meanwhile.
const tries = 20

// errBusy: a file was used for something else while it was being read.
var errBusy = errors.New("audit: the drive changes faster than it can be read")

// readDrive reads the drive in dir, which is a directory of a drive or the one of its segments. What seems to be damaged is
// looked at twice: at work, a store takes away what it has just said to be dead.
func readDrive(ctx context.Context, dir string, done func(bytes int64)) (*drive, error) {
	d, err := readSettled(ctx, dir, done)
	if err != nil || d.Damaged == 0 {
		return d, err
	}
	again, err := readSettled(ctx, dir, done)
	if err != nil {
		return nil, err
	}
	for id, l := range again.shards {
		if !l.intact && d.shards[id] != l {
			delete(again.shards, id)
			again.Damaged--
		}
	}
	return again, nil
}

// readSettled reads the drive until none of its files was used for something else meanwhile.
func readSettled(ctx context.Context, dir string, done func(bytes int64)) (*drive, error) {
	for range tries {
		d, err := readOnce(ctx, dir, done)
		if !errors.Is(err, errBusy) && !errors.Is(err, fs.ErrNotExist) {
			return d, err
		}
		if _, err := os.Stat(dir); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: %s", errBusy, dir)
}

func readOnce(ctx context.Context, dir string, done func(bytes int64)) (*drive, error) {
	segments, err := openAll(dir, done)
	defer func() {
		for _, s := range segments {
			_ = s.file.Close() // nothing was written
		}
	}()
	if err != nil {
		return nil, err
	}
	d := &drive{DriveSummary: DriveSummary{Dir: dir, Segments: len(segments)}, shards: map[placement.ShardID]last{}}
	for _, s := range segments {
		if s.whole && d.id.IsZero() {
			d.id = s.head.drive
		}
		if s.whole && d.id != s.head.drive {
			return nil, fmt.Errorf("audit: %s has segments of two drives, %s and %s", dir, d.id, s.head.drive)
		}
	}
	durable, err := d.scan(ctx, segments)
	if err != nil {
		return nil, err
	}
	for _, s := range segments {
		if s.recycled() {
			return nil, errBusy
		}
	}
	d.settle(durable)
	return d, nil
}

// openAll opens all segment files before any is read, and makes sure that there is a moment at which all of them were
// there: one that is removed later can still be read to its end, with what was said elsewhere about its records.
func openAll(dir string, done func(bytes int64)) ([]*segment, error) {
	names, err := segmentNames(dir)
	if err != nil {
		return nil, err
	}
	var segments []*segment
	for _, name := range names {
		s, err := openSegment(name)
		if err != nil {
			return segments, err
		}
		s.done = done
		segments = append(segments, s)
	}
	for _, s := range segments {
		if s.removed() || s.recycled() {
			return segments, errBusy
		}
	}
	return segments, nil
}

// shardsDir is where a drive's directory keeps its segments.
const shardsDir = "shards"

// segmentNames lists the segment files of a drive.
func segmentNames(dir string) ([]string, error) {
	if st, err := os.Stat(filepath.Join(dir, shardsDir)); err == nil && st.IsDir() {
		dir = filepath.Join(dir, shardsDir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), "seg-"); ok && len(number) == 8 && e.Type().IsRegular() {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, nil
}

// doubt is a record whose payload did not match at first.
type doubt struct {
	segment *segment
	record  record
}

// scan reads all segments and returns up to which sequence everything was on stable storage.
func (d *drive) scan(ctx context.Context, segments []*segment) (durable uint64, err error) {
	var doubts []doubt
	for _, s := range segments {
		var found []last
		newest := uint32(0)
		err := s.scan(ctx, d.id, func(r *record, intact bool) {
			found = append(found, last{*r, intact})
			newest = max(newest, r.gen)
		})
		if err != nil {
			return 0, err
		}
		for _, l := range found {
			if l.gen != newest {
				continue // the head is damaged, and this is of an earlier use of the file
			}
			d.Records++
			durable = max(durable, l.durable)
			if l.intact {
				d.take(l)
			} else {
				doubts = append(doubts, doubt{s, l.record})
			}
		}
	}
	for _, x := range doubts { // it may have been in the middle of being written
		x.segment.window = x.segment.window[:0]
		intact, err := x.segment.intact(&x.record)
		if err != nil {
			return 0, err
		}
		d.take(last{x.record, intact})
	}
	return durable, nil
}

// take keeps the record of the highest sequence; of two copies of one record the intact one.
func (d *drive) take(l last) {
	old, ok := d.shards[l.id]
	if !ok || l.seq > old.seq || l.seq == old.seq && l.intact {
		d.shards[l.id] = l
	}
}

// settle forgets what was being written when the drive was last stopped, or is being written now: nobody was told that it exists.
func (d *drive) settle(durable uint64) {
	for id, l := range d.shards {
		switch {
		case !l.intact && l.seq > durable, l.kind == kindDrop:
			delete(d.shards, id)
		case l.kind == kindTombstone:
			d.Tombstones++
		case !l.intact:
			d.Damaged++
		default:
			d.Shards++
			d.Bytes += uint64(l.size)
		}
	}
	d.Drive = d.id.String()
}
