package state

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"kintsugi/meta"
)

// Query answers a query struct of package meta from the state of group. Any number of goroutines may ask.
func (m *Machine) Query(group uint32, q any) (any, error) { return m.query(group, q, false) }

// QueryReplica is Query for a replica that may be behind. ErrIncomplete says that it has nothing to answer from: it is
// new, or its state is being restored.
func (m *Machine) QueryReplica(group uint32, q any) (any, error) { return m.query(group, q, true) }

func (m *Machine) query(group uint32, q any, replica bool) (result any, err error) {
	if err := m.Err(); err != nil {
		return nil, err
	}
	defer m.recovered(&err)
	view := m.db.View()
	defer view.Release()
	r := &reader{store: view, group: uint16(group), codec: m.codec}
	if replica {
		err = r.complete()
	}
	if err == nil {
		result, err = r.answer(q)
	}
	if err = damaged(err); errors.Is(err, ErrDamaged) {
		return nil, m.fail(err)
	}
	return result, err
}

// complete fails with ErrIncomplete unless the group has a position.
func (r *reader) complete() error {
	own := reader{store: r.store, group: machineGroup, codec: r.codec}
	ok, err := own.exists(slotKey(machineGroup, kindPosition, r.group))
	if err == nil && !ok {
		return fmt.Errorf("group %d: %w", r.group, ErrIncomplete)
	}
	return err
}

func (r *reader) answer(q any) (any, error) {
	switch q := q.(type) {
	case meta.GetObject:
		return r.object(q)
	case meta.BucketQuery:
		return r.bucket(q.Name)
	case meta.BucketsQuery:
		return r.buckets(q)
	case meta.ListQuery:
		return r.list(q)
	case meta.UploadQuery:
		return r.upload(q.UploadRef)
	case meta.PartsQuery:
		if _, err := r.upload(q.UploadRef); err != nil {
			return nil, err
		}
		return r.parts(q.ID, q.After, q.Max)
	case meta.GarbageQuery:
		return r.garbage(q.Max)
	case meta.LiveQuery:
		return r.live(q)
	case meta.ClusterMapQuery:
		_, data, err := r.clusterMap()
		return data, err
	}
	return nil, fmt.Errorf("query %T: %w", q, meta.ErrFormat)
}

// bucket returns the record of a bucket; one that is being created or deleted has the mark.
func (r *reader) bucket(name string) (meta.Bucket, error) {
	var b meta.Bucket
	ok, err := r.decode(bucketKey(r.group, name), &b)
	if err == nil && !ok {
		err = fmt.Errorf("bucket %q: %w", name, meta.ErrNoSuchBucket)
	}
	b.Created = milliseconds(b.Created)
	return b, err
}

func (r *reader) buckets(q meta.BucketsQuery) ([]meta.Bucket, error) {
	buckets := []meta.Bucket{}
	from := bucketKey(r.group, max(q.Prefix, q.After))
	err := r.scan(bucketKey(r.group, q.Prefix), from, func(_, content []byte) (bool, error) {
		var b meta.Bucket
		if err := r.unmarshal(content, &b); err != nil {
			return false, err
		}
		if b.Name != q.After && !b.Creating {
			b.Created = milliseconds(b.Created)
			buckets = append(buckets, b)
		}
		return len(buckets) < q.Max, nil
	})
	return buckets, err
}

// object answers with a version, its layout and, if asked for, the inline body.
func (r *reader) object(q meta.GetObject) (meta.Version, error) {
	rec, err := r.current(q.Bucket, q.Key)
	if err != nil {
		return meta.Version{}, err
	}
	if rec != nil && (q.Version == nil || *q.Version == rec.Version.ID) {
		rec.Version.IsLatest = true
	} else if rec, err = r.notCurrent(q); err != nil {
		return meta.Version{}, err
	}
	if err := r.layout(rec); err != nil {
		return meta.Version{}, err
	}
	b, err := r.bucket(q.Bucket)
	if err != nil {
		return meta.Version{}, err
	}
	rec.Version.Versioned = b.Versioning != meta.Unversioned || rec.Version.ID != meta.NullVersion
	rec.Version.BucketConsistency = b.Consistency
	if !rec.Version.Inline || !q.Body {
		return rec.Version, nil
	}
	ok, err := r.load(numberKey(r.group, kindBody, rec.Version.Sequence), func(content []byte) error {
		rec.Version.Body = bytes.Clone(content)
		return nil
	})
	if err == nil && (!ok || int64(len(rec.Version.Body)) != rec.Version.Size) {
		err = fmt.Errorf("body of %d bytes for an object of %d: %w", len(rec.Version.Body), rec.Version.Size, meta.ErrCorrupt)
	}
	return rec.Version, err
}

// notCurrent returns the version that q names, or the error that tells why there is none to read.
func (r *reader) notCurrent(q meta.GetObject) (*record, error) {
	b, err := r.bucket(q.Bucket)
	if err != nil {
		return nil, err
	}
	if q.Version == nil {
		if b.Versioning == meta.Unversioned {
			return nil, meta.ErrNoSuchKey
		}
		return nil, r.missing(q.Bucket, q.Key)
	}
	rec, err := r.older(q.Bucket, q.Key, *q.Version)
	if err != nil {
		return nil, err
	}
	return rec, named(rec)
}

func (r *reader) garbage(limit int) (meta.GarbagePage, error) {
	var page meta.GarbagePage
	err := r.scan(keyOf(r.group, kindQueue, 0), nil, func(key, content []byte) (bool, error) {
		if len(page.Garbage) == limit {
			return false, nil
		}
		var g garbage
		if err := r.unmarshal(content, &g); err != nil {
			return false, err
		}
		page.Garbage = append(page.Garbage, meta.Garbage{
			Sequence: number64(key), Blob: g.Blob, Queued: time.UnixMilli(g.Queued).UTC(),
		})
		return true, nil
	})
	if err != nil {
		return page, err
	}
	page.Pending, err = r.any(keyOf(r.group, kindDropped, 0))
	return page, err
}

func (r *reader) live(q meta.LiveQuery) ([]bool, error) {
	live := make([]bool, len(q.Blobs))
	for i, id := range q.Blobs {
		ok, err := r.exists(blobKey(r.group, id))
		if err != nil {
			return nil, err
		}
		live[i] = ok
	}
	return live, nil
}
