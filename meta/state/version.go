package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"kintsugi/meta"
)

// current loads the current version of a key, nil if there is none.
func (r *reader) current(bucket, key string) (*record, error) {
	return r.record(objectKey(r.group, bucket, key), key)
}

// record loads a version, nil if there is none.
func (r *reader) record(at []byte, key string) (*record, error) {
	rec := new(record)
	ok, err := r.decode(at, rec)
	if !ok || err != nil {
		return nil, err
	}
	rec.complete(key)
	return rec, nil
}

// complete sets what the encoding leaves out.
func (rec *record) complete(key string) {
	rec.Version.Key = key
	rec.Version.Modified = milliseconds(rec.Version.Modified)
	for i := range rec.Version.Parts {
		rec.Version.Parts[i].Modified = milliseconds(rec.Version.Parts[i].Modified)
	}
}

// milliseconds undoes what the encoding of a time as a float does to its last digits.
func milliseconds(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Round(time.Millisecond).UTC()
}

// older loads the version with a given id among those that are not current, nil if there is none.
func (r *reader) older(bucket, key string, id meta.VersionID) (*record, error) {
	sequence := uint64(id)
	if id == meta.NullVersion {
		n, err := r.number(versionsKey(r.group, kindNull, bucket, key))
		if n == 0 || err != nil {
			return nil, err
		}
		sequence = n
	}
	return r.record(versionKey(r.group, bucket, key, sequence), key)
}

// newest loads the newest of the versions that are not current, nil if there is none. If
// there is no current one, it is a delete marker.
func (r *reader) newest(bucket, key string) (*record, error) {
	var rec *record
	err := r.scan(versionsKey(r.group, kindVersion, bucket, key), nil, func(_, content []byte) (bool, error) {
		rec = new(record)
		return false, r.unmarshal(content, rec)
	})
	if rec == nil || err != nil {
		return nil, err
	}
	rec.complete(key)
	return rec, nil
}

func (x *tx) current(bucket, key string) (*record, error) {
	rec, err := x.reader.current(bucket, key)
	return rec, x.failed(err)
}

func (x *tx) older(bucket, key string, id meta.VersionID) (*record, error) {
	rec, err := x.reader.older(bucket, key, id)
	return rec, x.failed(err)
}

func (x *tx) newest(bucket, key string) (*record, error) {
	rec, err := x.reader.newest(bucket, key)
	return rec, x.failed(err)
}

// saveCurrent makes rec the current version of its key.
func (x *tx) saveCurrent(bucket string, rec *record) error {
	return x.encode(objectKey(x.group, bucket, rec.Version.Key), rec)
}

// saveOlder puts rec among the versions that are not current.
func (x *tx) saveOlder(bucket string, rec *record) error {
	v := &rec.Version
	if v.ID == meta.NullVersion {
		x.setNumber(versionsKey(x.group, kindNull, bucket, v.Key), v.Sequence)
	}
	return x.encode(versionKey(x.group, bucket, v.Key, v.Sequence), rec)
}

func (x *tx) removeOlder(bucket string, rec *record) {
	v := &rec.Version
	if v.ID == meta.NullVersion {
		x.remove(versionsKey(x.group, kindNull, bucket, v.Key))
	}
	x.remove(versionKey(x.group, bucket, v.Key, v.Sequence))
}

// giveWay makes room for a new newest version of a key: the current one and the null version are
// kept or dropped as the bucket's versioning says.
func (x *tx) giveWay(b meta.Bucket, key string, cur *record) error {
	null := cur != nil && cur.Version.ID == meta.NullVersion
	if cur != nil && (b.Versioning == meta.VersioningEnabled || !null) {
		if err := x.saveOlder(b.Name, cur); err != nil {
			return err
		}
		x.remove(objectKey(x.group, b.Name, key))
	} else if cur != nil {
		x.remove(objectKey(x.group, b.Name, key))
		if err := x.drop(cur); err != nil {
			return err
		}
	}
	if b.Versioning != meta.VersioningSuspended || null {
		return nil
	}
	old, err := x.older(b.Name, key, meta.NullVersion)
	if old == nil || err != nil {
		return err
	}
	x.removeOlder(b.Name, old)
	return x.drop(old)
}

// nextID returns the id of a new version with a sequence.
func nextID(b meta.Bucket, sequence uint64) meta.VersionID {
	if b.Versioning == meta.VersioningEnabled {
		return meta.VersionID(sequence)
	}
	return meta.NullVersion
}

// promote makes the newest of the other versions current after the newest of all was removed,
// unless it is a delete marker.
func (x *tx) promote(bucket, key string) error {
	next, err := x.newest(bucket, key)
	if err != nil || next == nil || next.Version.DeleteMarker {
		return err
	}
	x.removeOlder(bucket, next)
	return x.saveCurrent(bucket, next)
}

// drop lets go of what a removed version referred to.
func (x *tx) drop(rec *record) error {
	v := &rec.Version
	if v.Inline {
		x.remove(numberKey(x.group, kindBody, v.Sequence))
	}
	if rec.Layout != "" {
		return x.dropLayout(rec.Layout, nil)
	}
	return x.unrefer(v.Blobs)
}

// layout adds the parts and blobs that are kept in pages to rec.Version.
func (r *reader) layout(rec *record) error {
	if rec.Layout == "" {
		return nil
	}
	v := &rec.Version
	err := r.pages(rec.Layout, func(_ []byte, p page) (bool, error) {
		for _, part := range p.Parts {
			if !kept(rec.Kept, part.Number) {
				continue
			}
			v.Blobs = append(v.Blobs, part.Blobs...)
			part.Blobs = nil
			v.Parts = append(v.Parts, part)
		}
		v.Blobs = append(v.Blobs, p.Blobs...)
		return true, nil
	})
	if err != nil {
		return err
	}
	if size := blobsSize(v.Blobs); size != v.Size {
		return fmt.Errorf("blobs of %d bytes for an object of %d: %w", size, v.Size, meta.ErrCorrupt)
	}
	return nil
}

// pages calls visit for the pages of a layout, in order, until it returns false.
func (r *reader) pages(layout string, visit func(key []byte, p page) (bool, error)) error {
	return r.pagesFrom(layout, nil, visit)
}

func (r *reader) pagesFrom(layout string, from []byte, visit func(key []byte, p page) (bool, error)) error {
	return r.scan(pagesKey(r.group, layout), from, func(key, content []byte) (bool, error) {
		var p page
		if err := r.unmarshal(content, &p); err != nil {
			return false, err
		}
		for i := range p.Parts {
			p.Parts[i].Modified = milliseconds(p.Parts[i].Modified)
		}
		return visit(bytes.Clone(key), p)
	})
}

// kept tells whether a part counts.
func kept(set []byte, number int) bool {
	return len(set) == 0 || number/8 < len(set) && set[number/8]&(1<<(number%8)) != 0
}

// keep returns set with a part added.
func keep(set []byte, number int) []byte {
	for len(set) <= number/8 {
		set = append(set, 0)
	}
	set[number/8] |= 1 << (number % 8)
	return set
}

// number64 reads the sequence at the end of a key.
func number64(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }
