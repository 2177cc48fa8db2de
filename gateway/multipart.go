package gateway

import (
	"context"
	"strconv"

	"kintsugi/gateway/checksum"
	"kintsugi/meta"
)

const (
	maxParts     = 10_000
	minPartBytes = 5 << 20 // of all parts but the last
)

// createUpload opens a multipart upload. All that is kept with the object is said here and
// applied when the upload is completed.
func (r *request) createUpload() error {
	if !validBucketName(r.bucket) {
		return errNoSuchBucket
	}
	headers, err := r.objectHeaders()
	if err != nil {
		return err
	}
	algorithm, err := checksum.Algorithm(r.headers.get("x-amz-checksum-algorithm"))
	if err != nil {
		return err
	}
	composite, err := checksum.MultipartType(algorithm, r.headers.get("x-amz-checksum-type"))
	if err != nil {
		return err
	}
	ctx, cancel := r.context()
	defer cancel()
	opened, err := r.server.config.Meta.CreateUpload(ctx, r.bucket, meta.Upload{
		Key: r.key, Headers: headers, Algorithm: algorithm, Composite: composite,
	})
	if err != nil {
		return err
	}
	d := newDocument("InitiateMultipartUploadResult")
	d.text("Bucket", r.bucket)
	d.text("Key", r.key)
	d.text("UploadId", opened.ID)
	d.close("InitiateMultipartUploadResult")
	err = r.document(200, d)
	if algorithm != meta.NoChecksum {
		h := &r.ctx.Response.Header
		h.Set("x-amz-checksum-algorithm", checksum.Name(algorithm))
		h.Set("x-amz-checksum-type", checksum.Type(meta.Checksum{Composite: composite}))
	}
	return err
}

// abortUpload drops an upload and all its parts.
func (r *request) abortUpload() error {
	if !validBucketName(r.bucket) {
		return errNoSuchBucket
	}
	ctx, cancel := r.context()
	defer cancel()
	if err := r.server.config.Meta.AbortUpload(ctx, r.bucket, r.key, r.query.get("uploadId")); err != nil {
		return err
	}
	return r.empty(204)
}

// openUpload returns the upload that the request names.
func (r *request) openUpload(ctx context.Context) (meta.Upload, error) {
	if !validBucketName(r.bucket) {
		return meta.Upload{}, errNoSuchBucket
	}
	return r.server.config.Meta.Upload(ctx, r.bucket, r.key, r.query.get("uploadId"))
}

// partNumber returns the number of the part that is uploaded.
func (r *request) partNumber() (int, error) {
	text := r.query.get("partNumber")
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 || number > maxParts {
		return 0, errInvalidArgument.withMessage("Part number must be an integer between 1 and 10000, inclusive").
			withField("ArgumentName", "partNumber").withField("ArgumentValue", text)
	}
	return number, nil
}

// checksum writes the element of a checksum, if there is one; parts is the number of parts that a
// composite one covers.
func (d *document) checksum(sum meta.Checksum, parts int) {
	if sum.Algorithm != meta.NoChecksum {
		d.text("Checksum"+checksum.Name(sum.Algorithm), checksum.String(sum, parts))
	}
}

// checksumType writes how a checksum covers the object.
func (d *document) checksumType(sum meta.Checksum) {
	if sum.Algorithm != meta.NoChecksum {
		d.text("ChecksumType", checksum.Type(sum))
	}
}
