package meta

import (
	"context"
	"fmt"
	"sync"
)

// deletesPerCommand bounds a command, so that the transaction that executes it stays within its limits.
const deletesPerCommand = 200

// PutObject makes a version visible, if its condition holds. That commit is the only commit
// point of a PUT. The blobs of what it replaced go to the deletion queue.
func (c *Client) PutObject(ctx context.Context, put PutObject) (Put, error) {
	put.Version.RequestID = requestID(put.Version.RequestID)
	return as[Put](c.change(ctx, put.Bucket, put.Key, OpPutObject, put))
}

// Object returns a version of a key: ErrNoSuchKey, ErrNoSuchVersion, or a *MarkerError.
func (c *Client) Object(ctx context.Context, get GetObject) (Version, error) {
	return as[Version](c.consensus.Query(ctx, c.group(get.Bucket, get.Key), get, get.Consistency))
}

// DeleteObject removes a version or makes a delete marker. A key or version that
// does not exist is not an error, unless the condition names it (ErrNoSuchKey).
func (c *Client) DeleteObject(ctx context.Context, del DeleteObject) (Deleted, error) {
	del.RequestID = requestID(del.RequestID)
	cmd := DeleteObjects{Objects: []DeleteObject{del}}
	results, err := as[[]DeleteResult](c.change(ctx, del.Bucket, del.Key, OpDeleteObjects, cmd))
	if err != nil {
		return Deleted{}, err
	}
	if len(results) != 1 {
		return Deleted{}, fmt.Errorf("%w: %d results of one delete", ErrCorrupt, len(results))
	}
	return results[0].Deleted, results[0].Err
}

// DeleteObjects deletes keys of one bucket: one command per group and 200 keys, in parallel. The results are
// in the order of dels; deletes of one key keep their order.
func (c *Client) DeleteObjects(ctx context.Context, bucket string, dels []DeleteObject) ([]DeleteResult, error) {
	byGroup := make(map[int][]int)
	for i := range dels {
		g := c.group(bucket, dels[i].Key)
		byGroup[g] = append(byGroup[g], i)
	}
	results := make([]DeleteResult, len(dels))
	var wg sync.WaitGroup
	for _, indexes := range byGroup {
		wg.Go(func() {
			for len(indexes) > 0 {
				n := min(len(indexes), deletesPerCommand)
				c.deleteSome(ctx, bucket, dels, indexes[:n], results)
				indexes = indexes[n:]
			}
		})
	}
	wg.Wait()
	return results, nil
}

// deleteSome executes the deletes with the given indexes and puts the outcomes into results.
func (c *Client) deleteSome(ctx context.Context, bucket string, dels []DeleteObject, indexes []int, results []DeleteResult) {
	cmd := DeleteObjects{Objects: make([]DeleteObject, len(indexes))}
	for i, index := range indexes {
		cmd.Objects[i] = dels[index]
		cmd.Objects[i].Bucket = bucket
		cmd.Objects[i].RequestID = requestID(dels[index].RequestID)
	}
	got, err := as[[]DeleteResult](c.change(ctx, bucket, cmd.Objects[0].Key, OpDeleteObjects, cmd))
	if err == nil && len(got) != len(indexes) {
		err = fmt.Errorf("%w: %d results of %d deletes", ErrCorrupt, len(got), len(indexes))
	}
	for i, index := range indexes {
		if err != nil {
			results[index] = DeleteResult{Err: err}
			continue
		}
		results[index] = got[i]
	}
}

// SetTags replaces the tags of a version (nil: of the current one) and returns its id.
func (c *Client) SetTags(ctx context.Context, bucket, key string, id *VersionID, tags map[string]string) (VersionID, error) {
	cmd := SetTags{Bucket: bucket, Key: key, Version: id, Tags: tags, RequestID: requestID("")}
	return as[VersionID](c.change(ctx, bucket, key, OpSetTags, cmd))
}

// as converts the result of a command or query.
func as[T any](v any, err error) (T, error) {
	var zero T
	if err != nil {
		return zero, err
	}
	t, ok := v.(T)
	if !ok {
		return zero, fmt.Errorf("%w: a %T instead of a %T", ErrCorrupt, v, zero)
	}
	return t, nil
}
