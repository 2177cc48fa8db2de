package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"kintsugi/gateway/checksum"
	"kintsugi/meta"
)

// copySource is the version that x-amz-copy-source names.
type copySource struct {
	bucket, key string
	id          *meta.VersionID // nil: the current one
	version     meta.Version
}

// parseCopySource reads the header: bucket and key, escaped once like a path, with or without a slash before
// them, and perhaps a version.
func parseCopySource(header string) (copySource, error) {
	bad := errInvalidArgument.withMessage("Invalid copy source object key").
		withField("ArgumentName", "x-amz-copy-source").withField("ArgumentValue", header)
	path, version, versioned := header, "", false
	if i := strings.LastIndex(header, "?versionId="); i >= 0 {
		path, version, versioned = header[:i], header[i+len("?versionId="):], true
	}
	path, err := unescapePath(strings.TrimPrefix(path, "/"))
	if err != nil {
		return copySource{}, bad
	}
	bucket, key, _ := strings.Cut(path, "/")
	if bucket == "" || key == "" || len(key) > maxKeyBytes {
		return copySource{}, bad
	}
	s := copySource{bucket: bucket, key: key}
	if !validBucketName(bucket) {
		return s, errNoSuchBucket
	}
	if versioned {
		id, err := parseVersion(version)
		if err != nil {
			return s, err
		}
		s.id = &id
	}
	return s, nil
}

// openSource finds the source and holds it against the conditions on it.
func (r *request) openSource(ctx context.Context) (copySource, error) {
	s, err := parseCopySource(r.headers.get("x-amz-copy-source"))
	if err != nil {
		return s, err
	}
	if err := r.checkSourceOwner(ctx, s.bucket); err != nil {
		return s, err
	}
	s.version, err = r.server.config.Meta.Object(ctx, meta.GetObject{Bucket: s.bucket, Key: s.key, Version: s.id, Body: true})
	if marker := (*meta.MarkerError)(nil); errors.As(err, &marker) && marker.Named {
		return s, errInvalidRequest.withMessage("The source of a copy request may not specifically refer to a delete marker by version id.")
	}
	if err != nil {
		return s, err
	}
	conditions := r.parseReadConditions("x-amz-copy-source-")
	if verdict, condition := conditions.judge(s.version.ETag, s.version.Modified); verdict != proceed {
		return s, errPreconditionFailed.withField("Condition", "x-amz-copy-source-"+condition)
	}
	return s, nil
}

// checkSourceOwner holds the source bucket's owner against the one that the client expects.
func (r *request) checkSourceOwner(ctx context.Context, bucket string) error {
	expected, ok := r.headers.lookup("x-amz-source-expected-bucket-owner")
	if !ok {
		return nil
	}
	b, err := r.server.config.Meta.Bucket(ctx, bucket, meta.Linearizable)
	if err != nil {
		return err
	}
	if b.Owner != expected {
		return errAccessDenied
	}
	return nil
}

// checkSourceSize refuses more than S3 copies at once, which is what it takes at once.
func checkSourceSize(size int64) error {
	if size > maxObjectBytes {
		return errInvalidRequest.withMessage("The specified copy source is larger than the maximum allowable size for a copy source: " +
			formatInt(maxObjectBytes))
	}
	return nil
}

// setSourceVersion names the version that was copied.
func (r *request) setSourceVersion(s *copySource) {
	if s.id != nil || s.version.Versioned {
		r.ctx.Response.Header.Set("x-amz-copy-source-version-id", formatVersion(s.version.ID))
	}
}

// storeCopy stores bytes of the source anew, for the request's own key. Where inline is set, few bytes are
// kept for the metadata record.
func (r *request) storeCopy(v *meta.Version, part span, algorithm meta.ChecksumAlgorithm, inline bool) (*storedBody, error) {
	stored := &storedBody{request: r, size: part.n}
	source, err := r.sourceBytes(v, part)
	if err != nil {
		return stored, err
	}
	if inline && part.n <= int64(r.server.config.InlineLimit) {
		stored.inline, stored.body = true, make([]byte, part.n)
		_, err = io.ReadFull(source, stored.body)
		stored.sum = checksum.Of(algorithm, stored.body)
		return stored, errors.Join(err, source.Close())
	}
	digest := r.server.hasher.New(algorithm, part.n)
	defer digest.Close()
	stored.started = r.server.config.Now().UnixMilli()
	id := r.server.config.Meta.NewBlobID(r.bucket, r.key)
	b, err := r.server.config.Blobs.Write(context.Background(), id, source, part.n, digest)
	if err = errors.Join(err, source.Close()); err != nil {
		return stored, err
	}
	stored.blobs, stored.sum = []meta.Blob{b}, digest.Sum()
	return stored, nil
}

// sourceBytes opens a run of an object's bytes, wherever they are kept.
func (r *request) sourceBytes(v *meta.Version, part span) (io.ReadCloser, error) {
	if v.Inline || part.n == 0 {
		if v.Inline && int64(len(v.Body)) != v.Size {
			return nil, meta.ErrCorrupt
		}
		return io.NopCloser(bytes.NewReader(v.Body[part.off : part.off+part.n])), nil
	}
	return r.server.config.Blobs.Read(context.Background(), v.Blobs, part.off, part.n)
}
