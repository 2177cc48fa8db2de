package gateway

import (
	"context"
	"strings"

	"kintsugi/gateway/checksum"
	"kintsugi/meta"
)

// checkPart holds the header of an UploadPart against the upload before the body is sent.
func (r *request) checkPart() error {
	if _, err := r.partNumber(); err != nil {
		return err
	}
	if err := r.checkUpload(); err != nil {
		return err
	}
	ctx, cancel := r.context()
	defer cancel()
	upload, err := r.openUpload(ctx)
	if err != nil {
		return err
	}
	expected := &r.put.expected
	if expected.GivenChecksum() && upload.Algorithm != meta.NoChecksum && upload.Algorithm != expected.Algorithm {
		return errInvalidRequest.withMessage("Checksum Type mismatch occurred, expected checksum Type: " +
			strings.ToLower(checksum.Name(upload.Algorithm)) + ", actual checksum Type: " + strings.ToLower(checksum.Name(expected.Algorithm)))
	}
	if !expected.GivenChecksum() {
		expected.Algorithm = upload.Algorithm
	}
	return nil
}

// uploadPart stores a part. A part of the same number takes the place of an earlier one.
func (r *request) uploadPart() error {
	number, err := r.partNumber()
	if err != nil {
		return err
	}
	stored := &storedBody{request: r}
	if err := stored.storeBlob(r.body, r.body.DecodedLength()); err != nil {
		return err
	}
	ctx, cancel := r.context()
	defer cancel()
	part, err := r.commitPart(ctx, number, stored)
	if err != nil {
		return err
	}
	h := r.respond(200)
	h.Set("ETag", quote(part.ETag))
	h.Set(checksum.Header(part.Checksum.Algorithm), checksum.String(part.Checksum, 0))
	return nil
}

// commitPart makes what was stored a part of the upload.
func (r *request) commitPart(ctx context.Context, number int, stored *storedBody) (meta.Part, error) {
	blobs := stored.blobs
	if stored.size == 0 {
		blobs = nil // a blob without a byte has nothing on the drives
	}
	part, err := r.server.config.Meta.PutPart(ctx, meta.PutPart{
		Bucket: r.bucket, Key: r.key, UploadID: r.query.get("uploadId"),
		Part: meta.Part{
			Number: number, Size: stored.size, ETag: stored.sum.ETag(), Checksum: stored.sum.Checksum, Blobs: blobs,
		},
		Started: stored.started,
	})
	if err != nil {
		stored.discard(err)
	}
	return part, err
}
