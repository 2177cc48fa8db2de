package meta

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"
)

const (
	dropUploadsPerCommand = 100
	// frozenTooLong is when a bucket that is still frozen is taken for one whose deletion was interrupted.
	frozenTooLong = 5 * time.Second
)

// CreateBucket makes a bucket: first in group 0, marked Creating, then in all, then without the mark. One that
// was interrupted is completed by the next call for its owner. ErrBucketExists.
func (c *Client) CreateBucket(ctx context.Context, bucket Bucket) error {
	created, err := as[Bucket](c.patient(ctx, 0, bucket.Name, OpCreateBucket, bucket))
	if err != nil {
		return err
	}
	record := created
	record.Creating = false
	if err := c.others(ctx, OpPutBucket, PutBucket{Bucket: record, Create: true}); err != nil {
		return err
	}
	ref := BucketRef{Name: created.Name, Incarnation: created.Incarnation}
	if _, err := c.propose(ctx, 0, OpOpenBucket, ref); err != nil {
		return err
	}
	if created.Owner != bucket.Owner {
		return ErrBucketExists
	}
	return nil
}

// DeleteBucket removes an empty bucket: it is frozen in all groups, group 0 first, and removed from all,
// group 0 last, or thawed if a group has something in it. One that was interrupted is
// completed or undone by the next. Open uploads are dropped.
// ErrNoSuchBucket, ErrBucketNotEmpty, ErrBusy if another call deletes it at this moment.
func (c *Client) DeleteBucket(ctx context.Context, name string) error {
	frozen, err := as[Frozen](c.propose(ctx, 0, OpFreezeBucket, FreezeBucket{Name: name}))
	if err != nil {
		return err
	}
	step := FreezeBucket{Name: name, Incarnation: frozen.Bucket.Incarnation, Freeze: frozen.Bucket.Freeze}
	empty, err := c.freezeOthers(ctx, step)
	if err != nil {
		return err
	}
	if !empty || !frozen.Empty {
		return errors.Join(c.everywhere(ctx, OpThawBucket, step), ErrBucketNotEmpty)
	}
	step.Max = dropUploadsPerCommand
	g, dropCtx := errgroup.WithContext(ctx)
	for group := range c.consensus.Groups() {
		g.Go(func() error { return c.dropUploads(dropCtx, group, step) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return c.everywhere(ctx, OpRemoveBucket, step)
}

// freezeOthers freezes the bucket in all groups but group 0 and tells whether it is empty in them.
func (c *Client) freezeOthers(ctx context.Context, step FreezeBucket) (bool, error) {
	full := make([]bool, c.consensus.Groups())
	g, ctx := errgroup.WithContext(ctx)
	for group := 1; group < len(full); group++ {
		g.Go(func() error {
			frozen, err := as[Frozen](c.propose(ctx, group, OpFreezeBucket, step))
			full[group] = !frozen.Empty
			return err
		})
	}
	err := g.Wait()
	return !slices.Contains(full, true), err
}

// everywhere executes a step in all groups, group 0 last: while it is not done there, the next call resumes it.
func (c *Client) everywhere(ctx context.Context, op Op, step FreezeBucket) error {
	if err := c.others(ctx, op, step); err != nil {
		return err
	}
	_, err := c.propose(ctx, 0, op, step)
	return err
}

func (c *Client) dropUploads(ctx context.Context, group int, step FreezeBucket) error {
	for {
		dropped, err := as[int](c.propose(ctx, group, OpDropUploads, step))
		if err != nil || dropped < step.Max {
			return err
		}
	}
}

// Bucket returns the record of a bucket, or ErrNoSuchBucket. Every group has it; the name chooses the one to ask.
func (c *Client) Bucket(ctx context.Context, name string, consistency Consistency) (Bucket, error) {
	group := int(xxh3.HashString(name) % uint64(c.consensus.Groups()))
	b, err := as[Bucket](c.consensus.Query(ctx, group, BucketQuery{Name: name}, consistency))
	if err != nil {
		return Bucket{}, err
	}
	if b.Creating {
		return Bucket{}, ErrNoSuchBucket
	}
	return b, nil
}

// thaw completes or undoes a deletion that was interrupted: group has had the bucket frozen for too long.
func (c *Client) thaw(ctx context.Context, group int, name string) error {
	b, err := as[Bucket](c.consensus.Query(ctx, group, BucketQuery{Name: name}, Linearizable))
	if err != nil || !b.Deleting || time.Since(time.UnixMilli(b.Frozen)) < frozenTooLong {
		return err
	}
	err = c.DeleteBucket(ctx, name)
	if errors.Is(err, ErrBucketNotEmpty) || errors.Is(err, ErrBusy) {
		return nil
	}
	return err
}

// Buckets returns up to limit buckets whose names start with prefix and sort behind after, and whether there are more.
func (c *Client) Buckets(ctx context.Context, prefix, after string, limit int) ([]Bucket, bool, error) {
	if limit <= 0 {
		return nil, false, nil
	}
	q := BucketsQuery{Prefix: prefix, After: after, Max: limit + 1}
	buckets, err := as[[]Bucket](c.consensus.Query(ctx, 0, q, Linearizable))
	if err != nil || len(buckets) <= limit {
		return buckets, false, err
	}
	return buckets[:limit], true, nil
}

// SetVersioning changes a bucket's versioning in group 0, then in all before it returns: no
// later write commits under the old state.
func (c *Client) SetVersioning(ctx context.Context, name string, versioning Versioning) error {
	bucket, err := as[Bucket](c.patient(ctx, 0, name, OpSetVersioning, SetVersioning{Name: name, Versioning: versioning}))
	if err != nil {
		return err
	}
	return c.others(ctx, OpPutBucket, PutBucket{Bucket: bucket})
}

// SetConsistency changes how reads of a bucket are answered that do not choose themselves: in group 0, then in all.
// Those who remember the old setting follow within seconds.
func (c *Client) SetConsistency(ctx context.Context, name string, consistency Consistency) error {
	cmd := SetConsistency{Name: name, Consistency: consistency}
	bucket, err := as[Bucket](c.patient(ctx, 0, name, OpSetConsistency, cmd))
	if err != nil {
		return err
	}
	return c.others(ctx, OpPutBucket, PutBucket{Bucket: bucket})
}

// others executes a command in all groups but group 0, in parallel.
func (c *Client) others(ctx context.Context, op Op, body any) error {
	g, ctx := errgroup.WithContext(ctx)
	for group := 1; group < c.consensus.Groups(); group++ {
		g.Go(func() error {
			_, err := c.propose(ctx, group, op, body)
			return err
		})
	}
	return g.Wait()
}
