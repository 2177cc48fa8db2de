package meta

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// CreateUpload opens a multipart upload of upload.Key and returns it with its ID and Initiated set.
func (c *Client) CreateUpload(ctx context.Context, bucket string, upload Upload) (Upload, error) {
	upload.ID = newUploadID(time.Now())
	cmd := CreateUpload{Bucket: bucket, Upload: upload}
	return as[Upload](c.change(ctx, bucket, upload.Key, OpCreateUpload, cmd))
}

// newUploadID returns a random id that sorts by time.
func newUploadID(now time.Time) string {
	var id [20]byte
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli()))
	_, _ = rand.Read(id[8:]) // never fails
	return hex.EncodeToString(id[2:])
}

// Upload returns an open upload, or ErrNoSuchUpload.
func (c *Client) Upload(ctx context.Context, bucket, key, id string) (Upload, error) {
	q := UploadQuery{UploadRef{Bucket: bucket, Key: key, ID: id}}
	return as[Upload](c.consensus.Query(ctx, c.group(bucket, key), q, Linearizable))
}

// PutPart adds or replaces a part and returns it with Modified set.
func (c *Client) PutPart(ctx context.Context, put PutPart) (Part, error) {
	put.RequestID = requestID(put.RequestID)
	return as[Part](c.change(ctx, put.Bucket, put.Key, OpPutPart, put))
}

// Parts returns up to limit parts (0: all) with numbers above after, in order, and whether there are more.
func (c *Client) Parts(ctx context.Context, bucket, key, id string, after, limit int) ([]Part, bool, error) {
	q := PartsQuery{UploadRef: UploadRef{Bucket: bucket, Key: key, ID: id}, After: after}
	if limit > 0 {
		q.Max = limit + 1
	}
	parts, err := as[[]Part](c.consensus.Query(ctx, c.group(bucket, key), q, Linearizable))
	if err != nil || limit <= 0 || len(parts) <= limit {
		return parts, false, err
	}
	return parts[:limit], true, nil
}

// CompleteUpload makes the object. A repetition returns the same Put as long as the version exists.
func (c *Client) CompleteUpload(ctx context.Context, complete CompleteUpload) (Put, error) {
	complete.RequestID = requestID(complete.RequestID)
	return as[Put](c.change(ctx, complete.Bucket, complete.Key, OpCompleteUpload, complete))
}

// AbortUpload drops an upload and its parts.
func (c *Client) AbortUpload(ctx context.Context, bucket, key, id string) error {
	cmd := AbortUpload{UploadRef: UploadRef{Bucket: bucket, Key: key, ID: id}, RequestID: requestID("")}
	_, err := c.change(ctx, bucket, key, OpAbortUpload, cmd)
	return err
}
