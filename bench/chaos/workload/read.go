package workload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"kintsugi/bench/chaos/history"
)

// get reads a key, a range of it, or what it is, and verifies every byte.
func (c *client) get(ctx context.Context, kind history.Kind, key int32) history.Outcome {
	_, current := c.load.book.Current(key)
	x, ctx := c.begin(ctx, kind, key, current.SizeBytes)
	if kind == history.Head {
		info, err := x.store.core.StatObject(ctx, x.store.bucket, history.KeyName(key), minio.StatObjectOptions{})
		if err != nil {
			return x.end(err)
		}
		if detail := x.identify(info); detail != "" {
			return x.lie(history.WrongAnswer, detail)
		}
		return x.end(nil)
	}
	var first, last int64
	opts := minio.GetObjectOptions{}
	if kind == history.Range {
		first, last = c.someRange(current.SizeBytes)
		if err := opts.SetRange(first, last); err != nil {
			opts = minio.GetObjectOptions{}
			_ = opts.SetRange(0, 0) // the first byte of all
			first, last = 0, 0
		}
	}
	body, info, header, err := x.store.core.GetObject(ctx, x.store.bucket, history.KeyName(key), opts)
	if err != nil {
		return x.endRange(err, kind, key, first)
	}
	defer body.Close()
	if detail := x.identify(whole(info, header)); detail != "" {
		return x.lie(history.WrongAnswer, detail)
	}
	v, _ := c.load.book.Version(key, x.op.Version)
	want := v.SizeBytes
	if kind == history.Range {
		want = min(last, v.SizeBytes-1) - first + 1
	}
	if info.Size != want {
		return x.lie(history.WrongAnswer, fmt.Sprintf("the answer says that it has %d bytes, but %d of the %d of version %d were asked for", info.Size, want, v.SizeBytes, x.op.Version))
	}
	n, err := c.check.verify(body, NewBody(c.load.config.Seed, key, x.op.Version), first)
	x.op.SizeBytes = n
	var wrong *errWrongBytes
	switch {
	case errors.As(err, &wrong):
		return x.lie(history.WrongBytes, fmt.Sprintf("version %d of %d bytes: %v", x.op.Version, v.SizeBytes, err))
	case err == nil && n != want:
		return x.lie(history.WrongAnswer, fmt.Sprintf("the answer ended well after %d of %d bytes", n, want))
	}
	return x.end(err)
}

// someRange draws a range of a body that probably has this size. It may reach over the end, as the one that asks may not know.
func (c *client) someRange(size int64) (first, last int64) {
	if size == 0 {
		return 0, c.rand.Int64N(1 << 16)
	}
	first = c.rand.Int64N(size)
	return first, first + c.rand.Int64N(min(size, 1<<20)+1)
}

// endRange ends a read that failed. A range that begins behind the end of a shorter version is rightly refused.
func (x *call) endRange(err error, kind history.Kind, key int32, first int64) history.Outcome {
	outcome, status := classify(err)
	if kind == history.Range && status == http.StatusRequestedRangeNotSatisfiable {
		if first == 0 {
			return x.lie(history.WrongAnswer, "416 for a range that begins with the first byte of a body that has some")
		}
		return x.endAs(history.Conflict, status, nil) // an answer that tells nothing
	}
	return x.endAs(outcome, status, err)
}

// whole gives info the size of the object also if the answer has a range of it; the version is in the headers of both.
func whole(info minio.ObjectInfo, header http.Header) minio.ObjectInfo {
	if _, total, found := strings.Cut(header.Get("Content-Range"), "/"); found {
		info.Size = -1
		if n, err := strconv.ParseInt(total, 10, 64); err == nil {
			info.Size = n
		}
	}
	return info
}

// identify finds out which version an answer has, and tells what cannot be about it.
func (x *call) identify(info minio.ObjectInfo) string {
	x.op.Status = http.StatusOK
	text := info.Metadata.Get("X-Amz-Meta-" + versionHeader)
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return fmt.Sprintf("an object whose version is %q, which nobody wrote", text)
	}
	v, known := x.client.load.book.Version(x.op.Key, uint32(n))
	if !known {
		return fmt.Sprintf("an object of version %d, which nobody wrote", n)
	}
	x.op.Version = uint32(n)
	if info.Size != v.SizeBytes {
		return fmt.Sprintf("version %d has %d bytes in this answer, but %d were written", n, info.Size, v.SizeBytes)
	}
	if before, same := x.client.load.book.Learn(x.op.Key, x.op.Version, info.ETag); !same {
		return fmt.Sprintf("version %d has the ETag %s in this answer, but had %s before", n, info.ETag, before)
	}
	return ""
}

// list lists a folder, or with "" the bucket.
func (c *client) list(ctx context.Context, prefix string) history.Outcome {
	x, ctx := c.begin(ctx, history.List, -1, 8<<20)
	listing := history.Listing{Begin: x.op.Begin, Client: c.number, Prefix: prefix, Found: map[int32]history.Listed{}, Final: c.final}
	last := ""
	for info := range x.store.core.Client.ListObjects(ctx, x.store.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if info.Err != nil {
			return x.end(info.Err)
		}
		key, ok := history.ParseKey(info.Key)
		switch {
		case !ok || int(key) >= c.load.book.Keys():
			return x.lie(history.WrongAnswer, fmt.Sprintf("the listing has %q, which nobody wrote", info.Key))
		case info.Key <= last || !strings.HasPrefix(info.Key, prefix):
			return x.lie(history.WrongAnswer, fmt.Sprintf("the listing of %q has %q after %q", prefix, info.Key, last))
		}
		last = info.Key
		listing.Found[key] = history.Listed{SizeBytes: info.Size, ETag: strings.Trim(info.ETag, `"`)}
	}
	if err := ctx.Err(); err != nil {
		return x.end(err)
	}
	listing.End = c.load.log.Now()
	c.load.log.AddListing(listing)
	return x.end(nil)
}
