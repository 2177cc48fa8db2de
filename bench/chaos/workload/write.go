package workload

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/minio/minio-go/v7"

	"kintsugi/bench/chaos/history"
)

// minMatchBytes is the least size of a version whose ETag is used as a condition: two tiny bodies may be the same.
const minMatchBytes = 16

// put writes a new version.
func (c *client) put(ctx context.Context, kind history.Kind, key int32) history.Outcome {
	opts := c.options()
	expect, current := c.load.book.Current(key)
	switch {
	case kind == history.PutIfAbsent:
		opts.SetMatchETagExcept("*")
	case kind == history.PutIfMatch && current.ETag != "" && current.SizeBytes >= minMatchBytes:
		opts.SetMatchETag(current.ETag)
	case kind == history.PutIfMatch: // there is nothing to match
		kind = history.Put
	}
	size := c.load.config.size(c.rand)
	version := c.load.book.NewVersion(key, size)
	opts.UserMetadata[versionHeader] = strconv.FormatUint(uint64(version), 10)
	x, ctx := c.begin(ctx, kind, key, size)
	x.op.Version, x.op.SizeBytes = version, size
	if kind == history.PutIfMatch {
		x.op.Expect = expect
	}
	info, err := x.store.core.PutObject(ctx, x.store.bucket, history.KeyName(key), c.body(key, version, 0, size), size, "", "", opts)
	if err != nil {
		return x.end(err)
	}
	return x.acknowledged(info.ETag)
}

// options are those of all writes. The body is not signed: it is verified when it is read.
func (c *client) options() minio.PutObjectOptions {
	return minio.PutObjectOptions{UserMetadata: map[string]string{}, DisableContentSha256: true, DisableMultipart: true}
}

func (c *client) body(key int32, version uint32, off, size int64) io.Reader {
	return NewBody(c.load.config.Seed, key, version).Reader(off, size)
}

// acknowledged ends a write that the server says is done.
func (x *call) acknowledged(etag string) history.Outcome {
	if etag == "" {
		return x.lie(history.WrongAnswer, "a write was answered without an ETag")
	}
	if before, same := x.client.load.book.Learn(x.op.Key, x.op.Version, etag); !same {
		return x.lie(history.WrongAnswer, "a write was answered with the ETag "+etag+", but somebody has read it with "+before)
	}
	return x.end(nil)
}

// multipart writes a new version in parts.
func (c *client) multipart(ctx context.Context, key int32) history.Outcome {
	u, ctx := c.upload(ctx, history.Multipart, key)
	if u.err != nil {
		return u.withoutEffect(u.err)
	}
	info, err := u.complete(ctx)
	if err != nil {
		return u.end(err)
	}
	return u.acknowledged(info.ETag)
}

// completeOrAbort writes a new version in parts, and asks at the same moment to make it visible and to forget it. If the upload is not
// known any more when it should be completed, it was forgotten.
func (c *client) completeOrAbort(ctx context.Context, key int32) history.Outcome {
	u, ctx := c.upload(ctx, history.Abort, key)
	if u.err != nil {
		return u.withoutEffect(u.err)
	}
	var aborting sync.WaitGroup
	aborting.Go(func() { _ = u.store.core.AbortMultipartUpload(ctx, u.store.bucket, u.name, u.id) }) // what the other says is what counts
	info, err := u.complete(ctx)
	aborting.Wait()
	var answer minio.ErrorResponse
	switch {
	case errors.As(err, &answer) && answer.Code == minio.NoSuchUpload:
		u.op.Partial = true
		return u.endAs(history.Conflict, uint16(answer.StatusCode), nil)
	case err != nil:
		return u.end(err)
	}
	return u.acknowledged(info.ETag)
}

// upload is a write in parts under way. Only its last step makes it visible: the operation begins with that, and what fails before fails for
// certain. The steps before are not measured.
type upload struct {
	*call
	name, id string
	parts    []minio.CompletePart
	err      error // of a step before the last
}

// upload sends all parts of a new version.
func (c *client) upload(ctx context.Context, kind history.Kind, key int32) (*upload, context.Context) {
	size := partBytes*(1+c.rand.Int64N(maxParts-1)) + 1 + c.rand.Int64N(partBytes)
	version := c.load.book.NewVersion(key, size)
	x, ctx := c.begin(ctx, kind, key, size)
	x.op.Version, x.op.SizeBytes = version, size
	u := &upload{call: x, name: history.KeyName(key)}
	opts := c.options()
	opts.UserMetadata[versionHeader] = strconv.FormatUint(uint64(version), 10)
	core, bucket := x.store.core, x.store.bucket
	if u.id, u.err = core.NewMultipartUpload(ctx, bucket, u.name, opts); u.err != nil {
		return u, ctx
	}
	for off := int64(0); off < size; off += partBytes {
		n := min(partBytes, size-off)
		var part minio.ObjectPart
		part, u.err = core.PutObjectPart(ctx, bucket, u.name, u.id, len(u.parts)+1, c.body(key, version, off, n), n,
			minio.PutObjectPartOptions{DisableContentSha256: true})
		if u.err != nil {
			_ = core.AbortMultipartUpload(ctx, bucket, u.name, u.id) // if it can be: nobody reads its parts
			return u, ctx
		}
		u.parts = append(u.parts, minio.CompletePart{PartNumber: part.PartNumber, ETag: part.ETag})
	}
	return u, ctx
}

// complete makes the upload visible.
func (u *upload) complete(ctx context.Context) (minio.UploadInfo, error) {
	u.op.Begin = u.client.load.log.Now()
	return u.store.core.CompleteMultipartUpload(ctx, u.store.bucket, u.name, u.id, u.parts, minio.PutObjectOptions{})
}

// withoutEffect ends an upload that failed before its last step. A failure that leaves doubt about a step leaves none
// about the object.
func (x *call) withoutEffect(err error) history.Outcome {
	outcome, status := classify(err)
	x.op.Partial = true
	return x.endAs(outcome, status, err)
}

// remove deletes a key.
func (c *client) remove(ctx context.Context, key int32) history.Outcome {
	x, ctx := c.begin(ctx, history.Delete, key, 0)
	return x.end(x.store.core.RemoveObject(ctx, x.store.bucket, history.KeyName(key), minio.RemoveObjectOptions{}))
}
