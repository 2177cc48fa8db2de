package gateway

import (
	"errors"
	"time"

	"kintsugi/gateway/checksum"
	"kintsugi/meta"
)

// selfAttempts bounds how often a copy onto itself starts anew because the object changed meanwhile.
const selfAttempts = 32

// copyRequest is what the header of a CopyObject says of the new object.
type copyRequest struct {
	headers         meta.Headers
	replaceMetadata bool
	replaceTags     bool
	algorithm       meta.ChecksumAlgorithm // NoChecksum: the source's
	condition       meta.Condition
}

// copyObject makes an object of another's bytes.
func (r *request) copyObject() error {
	if !validBucketName(r.bucket) {
		return errNoSuchBucket
	}
	c, err := r.parseCopy()
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		source, put, self, err := r.tryCopy(&c)
		switch {
		case self && (errors.Is(err, meta.ErrNoSuchKey) || errors.Is(err, meta.ErrPrecondition)):
			if attempt < selfAttempts {
				continue
			}
			return errOperationAborted
		case err != nil:
			return conditional(err, c.condition)
		}
		return r.answerCopy(&source, put)
	}
}

func (r *request) parseCopy() (c copyRequest, err error) {
	if c.replaceMetadata, err = r.directive("x-amz-metadata-directive", "metadata"); err != nil {
		return c, err
	}
	if c.replaceTags, err = r.directive("x-amz-tagging-directive", "tagging"); err != nil {
		return c, err
	}
	if c.headers, err = r.objectHeaders(); err != nil {
		return c, err
	}
	if c.algorithm, err = checksum.Algorithm(r.headers.get("x-amz-checksum-algorithm")); err != nil {
		return c, err
	}
	c.condition, err = r.writeCondition()
	return c, err
}

// directive tells whether something is replaced and not copied.
func (r *request) directive(name, what string) (replace bool, err error) {
	switch value := r.headers.get(name); value {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	default:
		return false, errInvalidArgument.withMessage("Unknown "+what+" directive.").
			withField("ArgumentName", name).withField("ArgumentValue", value)
	}
}

// tryCopy copies once. self says that it was a copy of the current version onto itself, which the metadata refuses
// if a write came in between: who changes metadata must not bring an older body back. Such a copy takes over
// the blobs of the source and moves no data, unless another checksum is asked for.
func (r *request) tryCopy(c *copyRequest) (source copySource, put meta.Put, self bool, err error) {
	ctx, cancel := r.context()
	defer cancel()
	if source, err = r.openSource(ctx); err != nil {
		return source, put, false, err
	}
	v := &source.version
	if err = checkSourceSize(v.Size); err != nil {
		return source, put, false, err
	}
	same := source.bucket == r.bucket && source.key == r.key
	if same && source.id == nil && !c.changes(v) {
		return source, put, false, errInvalidRequest.withMessage("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	command := meta.PutObject{Bucket: r.bucket, Key: r.key, Condition: c.condition}
	command.Version = meta.Version{Size: v.Size, Headers: c.apply(v.Headers), RequestID: r.id}
	if same && !v.Inline && (c.algorithm == meta.NoChecksum || c.algorithm == v.Checksum.Algorithm) {
		command.Shared = true
		command.Version.ETag, command.Version.Checksum = v.ETag, v.Checksum
		command.Version.Blobs, command.Version.Parts = v.Blobs, v.Parts
		put, err = r.server.config.Meta.PutObject(ctx, command)
		return source, put, !errors.Is(err, meta.ErrPrecondition), err // that one is the client's own
	}
	if same && source.id == nil && c.condition == (meta.Condition{}) {
		command.Condition.IfMatch, self = v.ETag, true
	}
	put, err = r.copyBytes(v, c, command)
	return source, put, self, err
}

// copyBytes stores the source's bytes anew and commits them. That may take longer than an operation on metadata.
func (r *request) copyBytes(v *meta.Version, c *copyRequest, command meta.PutObject) (meta.Put, error) {
	algorithm := c.algorithm
	if algorithm == meta.NoChecksum {
		algorithm = v.Checksum.Algorithm
	}
	if err := r.checkTarget(c.condition); err != nil {
		return meta.Put{}, err
	}
	stored, err := r.storeCopy(v, span{0, v.Size}, algorithm, true)
	if err != nil {
		return meta.Put{}, err
	}
	n := &command.Version
	n.ETag, n.Checksum, n.Blobs, n.Inline = stored.sum.ETag(), stored.sum.Checksum, stored.blobs, stored.inline
	command.Body, command.Started = stored.body, stored.started
	ctx, cancel := r.context()
	defer cancel()
	put, err := r.server.config.Meta.PutObject(ctx, command)
	if err != nil {
		stored.discard(err)
	}
	return put, err
}

// changes tells whether the request asks for anything but the same object again.
func (c *copyRequest) changes(v *meta.Version) bool {
	return c.replaceMetadata || c.replaceTags ||
		c.headers.StorageClass != v.Headers.StorageClass || c.headers.WebsiteRedirect != v.Headers.WebsiteRedirect ||
		c.algorithm != meta.NoChecksum && c.algorithm != v.Checksum.Algorithm
}

// apply returns what is kept with the copy of an object that has the headers h. Storage class
// and redirect are never copied.
func (c *copyRequest) apply(h meta.Headers) meta.Headers {
	copied := h
	if c.replaceMetadata {
		copied = c.headers
	}
	copied.Tags = h.Tags
	if c.replaceTags {
		copied.Tags = c.headers.Tags
	}
	copied.StorageClass, copied.WebsiteRedirect = c.headers.StorageClass, c.headers.WebsiteRedirect
	return copied
}

func (r *request) answerCopy(source *copySource, put meta.Put) error {
	d := newDocument("CopyObjectResult")
	d.time("LastModified", time.UnixMilli(put.Modified))
	d.etag(put.ETag)
	d.checksum(put.Checksum, len(source.version.Parts))
	d.checksumType(put.Checksum)
	d.close("CopyObjectResult")
	err := r.document(200, d)
	if put.Versioned {
		r.ctx.Response.Header.Set("x-amz-version-id", formatVersion(put.Version))
	}
	r.setSourceVersion(source)
	return err
}
