package state

import (
	"fmt"
	"time"

	"kintsugi/meta"
)

// Limits of a command. A client that respects S3's limits does not reach them.
const (
	maxKeySize   = 4096
	maxBodySize  = 1 << 20
	maxBlobs     = 4096
	maxPartBlobs = 1024
)

func (x *tx) putObject(c meta.PutObject) (meta.Put, error) {
	b, err := x.bucket(c.Bucket)
	if err != nil {
		return meta.Put{}, err
	}
	id := requestID(c.Version.RequestID, c.Bucket, c.Key, nil)
	if done, err := x.executed(id); done != nil || err != nil {
		if err == nil && done.Put != nil {
			return *done.Put, nil
		}
		return meta.Put{}, err
	}
	cur, err := x.current(c.Bucket, c.Key)
	if err != nil {
		return meta.Put{}, err
	}
	if err := x.mayPut(c, cur); err != nil {
		return meta.Put{}, err
	}
	rec := &record{Version: c.Version}
	rec.Version.Key = c.Key
	rec.Version.Inline = len(c.Version.Blobs) == 0
	rec.Version.Sequence = x.sequence()
	if err := x.refer(c.Version.Blobs); err != nil {
		return meta.Put{}, err
	}
	if rec.Version.Inline {
		x.content(numberKey(x.group, kindBody, rec.Version.Sequence), c.Body)
	}
	if err := x.pageOut(rec); err != nil {
		return meta.Put{}, err
	}
	put, err := x.putVersion(b, rec, cur)
	if err != nil {
		return put, err
	}
	return put, x.remember(id, request{Put: &put})
}

// mayPut checks everything that may refuse a PutObject.
func (x *tx) mayPut(c meta.PutObject, cur *record) error {
	if len(c.Key) > maxKeySize || len(c.Body) > maxBodySize || len(c.Version.Blobs) > maxBlobs {
		return meta.ErrTooLarge
	}
	if !sizesAgree(c) {
		return fmt.Errorf("an object of %d bytes: its body or blobs have another size: %w", c.Version.Size, meta.ErrFormat)
	}
	if err := x.expired(c.Started); err != nil {
		return err
	}
	if err := check(c.Condition, cur); err != nil {
		return err
	}
	if !c.Shared {
		return nil
	}
	for i := range c.Version.Blobs {
		ok, err := x.exists(blobKey(x.group, c.Version.Blobs[i].ID))
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("the blobs to share are gone: %w", meta.ErrNoSuchKey)
		}
	}
	return nil
}

// sizesAgree tells whether the body or the blobs have the size of the object. A reader takes a difference for damage.
func sizesAgree(c meta.PutObject) bool {
	if len(c.Version.Blobs) == 0 {
		return c.Version.Size == int64(len(c.Body))
	}
	return len(c.Body) == 0 && c.Version.Size == blobsSize(c.Version.Blobs)
}

func blobsSize(blobs []meta.Blob) int64 {
	size := int64(0)
	for i := range blobs {
		size += blobs[i].Size
	}
	return size
}

// expired refuses blobs that the orphan sweep may have taken.
func (x *tx) expired(started int64) error {
	if started != 0 && x.at.Sub(time.UnixMilli(started)) > meta.MaxBlobAge {
		return meta.ErrBlobExpired
	}
	return nil
}

// putVersion makes rec, whose sequence and body are there, the current version of its key.
func (x *tx) putVersion(b meta.Bucket, rec *record, cur *record) (meta.Put, error) {
	v := &rec.Version
	v.ID = nextID(b, v.Sequence)
	v.Modified = x.at
	v.RequestID = "" // kept apart, see requests
	if err := x.giveWay(b, v.Key, cur); err != nil {
		return meta.Put{}, err
	}
	put := meta.Put{
		Version: v.ID, Versioned: b.Versioning != meta.Unversioned,
		ETag: v.ETag, Checksum: v.Checksum, Modified: v.Modified.UnixMilli(),
	}
	return put, x.saveCurrent(b.Name, rec)
}

// pageOut moves long lists of parts and blobs out of a record into pages.
func (x *tx) pageOut(rec *record) error {
	v := &rec.Version
	if len(v.Blobs) <= maxInRecord && len(v.Parts) <= maxInRecord {
		return nil
	}
	rec.Layout = fmt.Sprintf("-%016x", v.Sequence) // no upload's id
	n := 0
	for blobs := v.Blobs; len(blobs) > 0; n++ {
		m := min(len(blobs), partsPerPage)
		if err := x.encode(pageKey(x.group, rec.Layout, n), page{Blobs: blobs[:m]}); err != nil {
			return err
		}
		blobs = blobs[m:]
	}
	for parts := v.Parts; len(parts) > 0; n++ {
		m := min(len(parts), partsPerPage)
		if err := x.encode(pageKey(x.group, rec.Layout, n), page{Parts: parts[:m]}); err != nil {
			return err
		}
		parts = parts[m:]
	}
	v.Blobs, v.Parts = nil, nil
	return nil
}

// check tells whether a condition holds of a version, nil for none.
func check(c meta.Condition, cur *record) error {
	if cur == nil {
		if c.IfMatch != "" || c.IfMatchSize != nil || c.IfMatchModified != nil {
			return meta.ErrNoSuchKey
		}
		return nil
	}
	v := &cur.Version
	switch {
	case c.IfNoneMatch,
		c.IfMatch != "" && c.IfMatch != "*" && c.IfMatch != v.ETag,
		c.IfMatchSize != nil && *c.IfMatchSize != v.Size,
		c.IfMatchModified != nil && c.IfMatchModified.Unix() != v.Modified.Unix():
		return meta.ErrPrecondition
	}
	return nil
}

func (x *tx) setTags(c meta.SetTags) (meta.VersionID, error) {
	if _, err := x.bucket(c.Bucket); err != nil {
		return 0, err
	}
	id := requestID(c.RequestID, c.Bucket, c.Key, c.Version)
	if done, err := x.executed(id); done != nil || err != nil {
		if err == nil && done.Put != nil {
			return done.Put.Version, nil
		}
		return 0, err
	}
	version, err := x.retag(c)
	if err != nil {
		return 0, err
	}
	return version, x.remember(id, request{Put: &meta.Put{Version: version}})
}

// retag replaces the tags of a version and returns its id.
func (x *tx) retag(c meta.SetTags) (meta.VersionID, error) {
	cur, err := x.current(c.Bucket, c.Key)
	if err != nil {
		return 0, err
	}
	if cur != nil && (c.Version == nil || *c.Version == cur.Version.ID) {
		cur.Version.Headers.Tags = c.Tags
		return cur.Version.ID, x.saveCurrent(c.Bucket, cur)
	}
	if c.Version == nil {
		return 0, x.missing(c.Bucket, c.Key)
	}
	old, err := x.older(c.Bucket, c.Key, *c.Version)
	if err != nil {
		return 0, err
	}
	if err := named(old); err != nil {
		return 0, err
	}
	old.Version.Headers.Tags = c.Tags
	return old.Version.ID, x.saveOlder(c.Bucket, old)
}

// missing returns the error for a key without a current version: ErrNoSuchKey or a MarkerError.
func (r *reader) missing(bucket, key string) error {
	rec, err := r.newest(bucket, key)
	if err != nil {
		return err
	}
	if rec == nil {
		return meta.ErrNoSuchKey
	}
	return &meta.MarkerError{ID: rec.Version.ID, Modified: rec.Version.Modified.UnixMilli()}
}

// named returns the error for a version that was asked for by its id, nil if it can be read.
func named(rec *record) error {
	if rec == nil {
		return meta.ErrNoSuchVersion
	}
	if v := &rec.Version; v.DeleteMarker {
		return &meta.MarkerError{ID: v.ID, Named: true, Modified: v.Modified.UnixMilli()}
	}
	return nil
}
