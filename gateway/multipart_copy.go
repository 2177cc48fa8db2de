package gateway

import (
	"strconv"
	"strings"

	"kintsugi/meta"
)

// uploadPartCopy makes a part of another object's bytes.
func (r *request) uploadPartCopy() error {
	number, err := r.partNumber()
	if err != nil {
		return err
	}
	source, stored, err := r.copyPart()
	if err != nil {
		return err
	}
	ctx, cancel := r.context()
	defer cancel()
	part, err := r.commitPart(ctx, number, stored)
	if err != nil {
		return err
	}
	d := newDocument("CopyPartResult")
	d.time("LastModified", part.Modified)
	d.etag(part.ETag)
	d.checksum(part.Checksum, 0)
	d.close("CopyPartResult")
	err = r.document(200, d)
	r.setSourceVersion(&source)
	return err
}

// copyPart stores the wanted bytes of the source.
func (r *request) copyPart() (copySource, *storedBody, error) {
	ctx, cancel := r.context()
	defer cancel()
	upload, err := r.openUpload(ctx)
	if err != nil {
		return copySource{}, nil, err
	}
	source, err := r.openSource(ctx)
	if err != nil {
		return source, nil, err
	}
	part := span{0, source.version.Size}
	if header, ok := r.headers.lookup("x-amz-copy-source-range"); ok {
		if part, err = parseCopyRange(header, source.version.Size); err != nil {
			return source, nil, err
		}
	}
	if err := checkSourceSize(part.n); err != nil {
		return source, nil, err
	}
	stored, err := r.storeCopy(&source.version, part, r.partAlgorithm(&upload, &source.version), false)
	return source, stored, err
}

// partAlgorithm is the upload's, or else the source's.
func (r *request) partAlgorithm(upload *meta.Upload, v *meta.Version) meta.ChecksumAlgorithm {
	if upload.Algorithm != meta.NoChecksum {
		return upload.Algorithm
	}
	return v.Checksum.Algorithm
}

// parseCopyRange reads x-amz-copy-source-range, which is stricter than Range: both ends must
// be given and lie within the source.
func parseCopyRange(header string, size int64) (span, error) {
	bad := errInvalidArgument.withField("ArgumentName", "x-amz-copy-source-range").withField("ArgumentValue", header)
	text, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(text, "-")
	from, okFirst := parseOffset(first)
	to, okLast := parseOffset(last)
	if !ok || !dash || !okFirst || !okLast || to < from {
		return span{}, bad.withMessage("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	}
	if to >= size {
		return span{}, bad.withMessage("Range specified is not valid for source object of size: " + strconv.FormatInt(size, 10))
	}
	return span{from, to - from + 1}, nil
}
