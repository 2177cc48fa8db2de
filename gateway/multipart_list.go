package gateway

import (
	"context"

	"kintsugi/gateway/checksum"
	"kintsugi/meta"
)

// listParts lists the parts of an open upload.
func (r *request) listParts() error {
	l, err := r.parseListQuery("max-parts")
	if err != nil {
		return err
	}
	marker, err := parseCount(r.query.get("part-number-marker"), "part-number-marker", 0)
	if err != nil {
		return err
	}
	ctx, cancel := r.context()
	defer cancel()
	upload, err := r.openUpload(ctx)
	if err != nil {
		return err
	}
	parts, more, err := r.partPage(ctx, marker, l.limit)
	if err != nil {
		return err
	}
	d := newDocument("ListPartsResult")
	d.text("Bucket", r.bucket)
	if l.encode {
		d.text("EncodingType", "url")
	}
	l.name(d, "Key", r.key)
	d.text("UploadId", upload.ID)
	r.uploadElements(d, &upload)
	d.int("PartNumberMarker", int64(marker))
	if more {
		d.int("NextPartNumberMarker", int64(parts[len(parts)-1].Number))
	}
	d.int("MaxParts", int64(l.limit))
	d.bool("IsTruncated", more)
	for i := range parts {
		d.open("Part")
		d.int("PartNumber", int64(parts[i].Number))
		d.time("LastModified", parts[i].Modified)
		d.etag(parts[i].ETag)
		d.int("Size", parts[i].Size)
		d.checksum(parts[i].Checksum, 0)
		d.close("Part")
	}
	d.close("ListPartsResult")
	return r.document(200, d)
}

// partPage asks for a page of parts; none are asked for where none are wanted.
func (r *request) partPage(ctx context.Context, marker, limit int) ([]meta.Part, bool, error) {
	if limit == 0 {
		return nil, false, nil
	}
	return r.server.config.Meta.Parts(ctx, r.bucket, r.key, r.query.get("uploadId"), marker, limit)
}

// uploadElements writes what both listings tell of an upload.
func (r *request) uploadElements(d *document, upload *meta.Upload) {
	d.open("Initiator")
	d.text("ID", r.auth.Identity.UserID)
	d.text("DisplayName", r.auth.Identity.DisplayName)
	d.close("Initiator")
	r.ownerElement(d)
	d.text("StorageClass", storageClass(upload.Headers.StorageClass))
	if upload.Algorithm != meta.NoChecksum {
		d.text("ChecksumAlgorithm", checksum.Name(upload.Algorithm))
		d.text("ChecksumType", checksum.Type(meta.Checksum{Composite: upload.Composite}))
	}
}

// listUploads lists the open uploads of a bucket, by key and then by the time they were opened.
func (r *request) listUploads() error {
	l, err := r.parseListQuery("max-uploads")
	if err != nil {
		return err
	}
	ask := meta.ListUploads{
		Bucket: r.bucket, Prefix: l.prefix, Delimiter: l.delimiter, Max: l.limit, KeyMarker: r.query.get("key-marker"),
	}
	if ask.KeyMarker != "" {
		ask.UploadIDMarker = r.query.get("upload-id-marker") // means nothing without a key
	}
	page, err := r.uploadPage(&l, ask)
	if err != nil {
		return err
	}
	d := newDocument("ListMultipartUploadsResult")
	d.text("Bucket", r.bucket)
	if l.encode {
		d.text("EncodingType", "url")
	}
	l.name(d, "Prefix", l.prefix)
	l.nameIf(d, "Delimiter", l.delimiter)
	l.name(d, "KeyMarker", ask.KeyMarker)
	d.text("UploadIdMarker", ask.UploadIDMarker)
	d.int("MaxUploads", int64(l.limit))
	d.bool("IsTruncated", page.Truncated)
	if page.Truncated {
		l.name(d, "NextKeyMarker", page.NextKey)
		d.text("NextUploadIdMarker", page.NextUploadID)
	}
	for i := range page.Uploads {
		upload := &page.Uploads[i]
		d.open("Upload")
		l.name(d, "Key", upload.Key)
		d.text("UploadId", upload.ID)
		r.uploadElements(d, upload)
		d.time("Initiated", upload.Initiated)
		d.close("Upload")
	}
	l.prefixes(d, page.Prefixes)
	d.close("ListMultipartUploadsResult")
	return r.listing(d)
}

func (r *request) uploadPage(l *listQuery, ask meta.ListUploads) (meta.UploadListing, error) {
	ctx, cancel := r.context()
	defer cancel()
	var err error
	if ask.Consistency, err = r.listedBucket(ctx); err != nil {
		return meta.UploadListing{}, err
	}
	page, err := r.server.config.Meta.Uploads(ctx, ask)
	if err != nil {
		return page, err
	}
	for i := range page.Uploads {
		if err := l.check(page.Uploads[i].Key); err != nil {
			return page, err
		}
	}
	for _, prefix := range page.Prefixes {
		if err := l.check(prefix); err != nil {
			return page, err
		}
	}
	return page, nil
}
