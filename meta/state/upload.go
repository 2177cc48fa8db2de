package state

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"kintsugi/meta"
)

func (x *tx) createUpload(c meta.CreateUpload) (meta.Upload, error) {
	if _, err := x.bucket(c.Bucket); err != nil {
		return meta.Upload{}, err
	}
	if len(c.Upload.Key) > maxKeySize {
		return meta.Upload{}, meta.ErrTooLarge
	}
	c.Upload.Initiated = x.at
	return c.Upload, x.encode(uploadKey(x.group, c.Bucket, c.Upload.Key, c.Upload.ID), c.Upload)
}

// upload loads an open upload, or fails with ErrNoSuchUpload.
func (r *reader) upload(u meta.UploadRef) (meta.Upload, error) {
	var upload meta.Upload
	ok, err := r.decode(uploadKey(r.group, u.Bucket, u.Key, u.ID), &upload)
	if err == nil && !ok {
		err = meta.ErrNoSuchUpload
	}
	upload.Initiated = milliseconds(upload.Initiated)
	return upload, err
}

// openUpload loads an upload of a bucket that takes commands.
func (x *tx) openUpload(u meta.UploadRef) (meta.Bucket, meta.Upload, error) {
	b, err := x.bucket(u.Bucket)
	if err != nil {
		return b, meta.Upload{}, err
	}
	ok, err := x.exists(uploadKey(x.group, u.Bucket, u.Key, u.ID))
	if err != nil {
		return b, meta.Upload{}, err
	}
	if !ok {
		return b, meta.Upload{}, meta.ErrNoSuchUpload
	}
	upload, err := x.upload(u)
	return b, upload, x.failed(err)
}

func byNumber(p meta.Part, number int) int { return cmp.Compare(p.Number, number) }

// putPart adds a part. The last upload of a number wins; a repetition with the same blobs changes nothing.
func (x *tx) putPart(c meta.PutPart) (meta.Part, error) {
	part := c.Part
	part.Modified = x.at
	id := requestID(c.RequestID, c.Bucket, c.Key, nil)
	if done, err := x.executed(id); done != nil || err != nil {
		if err == nil && done.Put != nil {
			part.Modified = time.UnixMilli(done.Put.Modified).UTC()
		}
		return part, err
	}
	part, err := x.replacePart(c, part)
	if err != nil {
		return part, err
	}
	return part, x.remember(id, request{Put: &meta.Put{Modified: part.Modified.UnixMilli()}})
}

// replacePart puts part in the place of the one with its number.
func (x *tx) replacePart(c meta.PutPart, part meta.Part) (meta.Part, error) {
	if _, _, err := x.openUpload(meta.UploadRef{Bucket: c.Bucket, Key: c.Key, ID: c.UploadID}); err != nil {
		return part, err
	}
	if part.Number < 1 || part.Number > 10000 || blobsSize(part.Blobs) != part.Size {
		return part, meta.ErrInvalidPart
	}
	if len(part.Blobs) > maxPartBlobs {
		return part, meta.ErrTooLarge
	}
	if err := x.expired(c.Started); err != nil {
		return part, err
	}
	key := pageKey(x.group, c.UploadID, (part.Number-1)/partsPerPage)
	var p page
	if _, err := x.decode(key, &p); err != nil {
		return part, err
	}
	i, found := slices.BinarySearchFunc(p.Parts, part.Number, byNumber)
	if !found {
		p.Parts = slices.Insert(p.Parts, i, part)
		if err := x.refer(part.Blobs); err != nil {
			return part, err
		}
		return part, x.encode(key, p)
	}
	old := p.Parts[i]
	if len(part.Blobs) > 0 && slices.EqualFunc(old.Blobs, part.Blobs, sameBlob) {
		old.Modified, old.Blobs = milliseconds(old.Modified), nil
		return old, nil
	}
	p.Parts[i] = part
	if err := x.refer(part.Blobs); err != nil {
		return part, err
	}
	if err := x.unrefer(old.Blobs); err != nil {
		return part, err
	}
	return part, x.encode(key, p)
}

func sameBlob(a, b meta.Blob) bool { return a.ID == b.ID }

// parts loads the parts of an upload with their blobs: those above after, at most limit (0: all).
func (r *reader) parts(layout string, after, limit int) ([]meta.Part, error) {
	var parts []meta.Part
	from := pageKey(r.group, layout, after/partsPerPage)
	err := r.pagesFrom(layout, from, func(_ []byte, p page) (bool, error) {
		for _, part := range p.Parts {
			if part.Number > after && (limit == 0 || len(parts) < limit) {
				parts = append(parts, part)
			}
		}
		return limit == 0 || len(parts) < limit, nil
	})
	return parts, err
}

func (x *tx) completeUpload(c meta.CompleteUpload) (meta.Put, error) {
	id := requestID(c.RequestID, c.Bucket, c.Key, nil)
	if done, err := x.executed(id); done != nil || err != nil {
		if err == nil && done.Put != nil {
			return *done.Put, nil
		}
		return meta.Put{}, err
	}
	put, err := x.assemble(c)
	if err != nil {
		return put, err
	}
	return put, x.remember(id, request{Put: &put})
}

// assemble makes the object.
func (x *tx) assemble(c meta.CompleteUpload) (meta.Put, error) {
	b, upload, err := x.openUpload(meta.UploadRef{Bucket: c.Bucket, Key: c.Key, ID: c.UploadID})
	if err == meta.ErrNoSuchUpload {
		return x.completedBefore(b, c)
	}
	if err != nil {
		return meta.Put{}, err
	}
	all, err := x.parts(c.UploadID, 0, 0)
	if x.failed(err) != nil {
		return meta.Put{}, err
	}
	listed, err := chooseParts(c, all)
	if err != nil {
		return meta.Put{}, err
	}
	cur, err := x.current(c.Bucket, c.Key)
	if err != nil {
		return meta.Put{}, err
	}
	if err := check(c.Condition, cur); err != nil {
		return meta.Put{}, err
	}
	rec := &record{Version: meta.Version{
		Key: c.Key, Sequence: x.sequence(), ETag: c.ETag, Checksum: c.Checksum,
		Headers: upload.Headers, UploadID: c.UploadID,
	}}
	for i := range listed {
		rec.Version.Size += listed[i].Size
	}
	blobs := 0
	for i := range all {
		blobs += len(all[i].Blobs)
	}
	x.remove(uploadKey(x.group, c.Bucket, c.Key, c.UploadID))
	if len(all) > maxInRecord || blobs > maxInRecord {
		err = x.keepPages(rec, len(all), listed)
	} else {
		err = x.foldPages(rec, all, listed)
	}
	if err != nil {
		return meta.Put{}, err
	}
	return x.putVersion(b, rec, cur)
}

// completedBefore answers the repetition of a Complete as the first one was.
func (x *tx) completedBefore(b meta.Bucket, c meta.CompleteUpload) (meta.Put, error) {
	put := func(v *meta.Version) meta.Put {
		return meta.Put{
			Version: v.ID, Versioned: b.Versioning != meta.Unversioned,
			ETag: v.ETag, Checksum: v.Checksum, Modified: v.Modified.UnixMilli(),
		}
	}
	cur, err := x.current(c.Bucket, c.Key)
	if err != nil {
		return meta.Put{}, err
	}
	if cur != nil && cur.Version.UploadID == c.UploadID {
		return put(&cur.Version), nil
	}
	var found *meta.Put
	seen := 0
	err = x.scan(versionsKey(x.group, kindVersion, c.Bucket, c.Key), nil, func(_, content []byte) (bool, error) {
		var rec record
		if err := x.unmarshal(content, &rec); err != nil {
			return false, err
		}
		if rec.complete(c.Key); rec.Version.UploadID == c.UploadID {
			p := put(&rec.Version)
			found = &p
		}
		seen++
		return found == nil && seen < 1000, nil
	})
	if err != nil || found == nil {
		return meta.Put{}, cmp.Or(err, meta.ErrNoSuchUpload)
	}
	return *found, nil
}

// chooseParts returns the parts that c lists.
func chooseParts(c meta.CompleteUpload, all []meta.Part) ([]meta.Part, error) {
	if len(c.Parts) == 0 {
		return nil, fmt.Errorf("no parts: %w", meta.ErrInvalidPart)
	}
	listed := make([]meta.Part, 0, len(c.Parts))
	for i, want := range c.Parts {
		if i > 0 && want.Number <= c.Parts[i-1].Number {
			return nil, meta.ErrPartOrder
		}
		at, ok := slices.BinarySearchFunc(all, want.Number, byNumber)
		if !ok || all[at].ETag != want.ETag || !sameChecksum(want.Checksum, all[at].Checksum) {
			return nil, fmt.Errorf("part %d: %w", want.Number, meta.ErrInvalidPart)
		}
		listed = append(listed, all[at])
	}
	for i := range listed[:len(listed)-1] {
		if listed[i].Size < c.MinPartSize {
			return nil, fmt.Errorf("part %d has %d bytes: %w", listed[i].Number, listed[i].Size, meta.ErrPartTooSmall)
		}
	}
	return listed, nil
}

// sameChecksum compares what the client expects, if anything, with a part's.
func sameChecksum(want, have meta.Checksum) bool {
	return want.Algorithm == meta.NoChecksum ||
		want.Algorithm == have.Algorithm && bytes.Equal(want.Value, have.Value)
}

// foldPages moves the listed parts into the record and drops the others.
func (x *tx) foldPages(rec *record, all, listed []meta.Part) error {
	pages := make(map[int]bool)
	for _, part := range all {
		if n := (part.Number - 1) / partsPerPage; !pages[n] {
			pages[n] = true
			x.remove(pageKey(x.group, rec.Version.UploadID, n))
		}
		if _, ok := slices.BinarySearchFunc(listed, part.Number, byNumber); !ok {
			if err := x.unrefer(part.Blobs); err != nil {
				return err
			}
			continue
		}
		rec.Version.Blobs = append(rec.Version.Blobs, part.Blobs...)
		part.Blobs = nil
		rec.Version.Parts = append(rec.Version.Parts, part)
	}
	return nil
}

// keepPages leaves the parts where they are, for the record to refer to.
func (x *tx) keepPages(rec *record, all int, listed []meta.Part) error {
	rec.Layout = rec.Version.UploadID
	if len(listed) == all {
		return nil
	}
	for i := range listed {
		rec.Kept = keep(rec.Kept, listed[i].Number)
	}
	return x.dropLayout(rec.Layout, rec.Kept)
}

func (x *tx) abortUpload(c meta.AbortUpload) (any, error) {
	id := requestID(c.RequestID, c.Bucket, c.Key, nil)
	if done, err := x.executed(id); done != nil || err != nil {
		return nil, err
	}
	u := c.UploadRef
	if _, _, err := x.openUpload(u); err != nil {
		return nil, err
	}
	x.remove(uploadKey(x.group, u.Bucket, u.Key, u.ID))
	if err := x.dropLayout(u.ID, nil); err != nil {
		return nil, err
	}
	return nil, x.remember(id, request{})
}
