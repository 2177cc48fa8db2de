package metatest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"kintsugi/meta"
	"kintsugi/meta/metatest"
	"kintsugi/meta/state"
)

// flaky is a Consensus whose n-th command from now fails with ErrUnavailable, executed or not.
type flaky struct {
	*metatest.Direct
	left    int // commands until the failing one; negative: none fails
	execute bool
}

func (f *flaky) Propose(ctx context.Context, group int, cmd []byte) (any, error) {
	f.left--
	if f.left != -1 {
		if f.left < -1 && f.left > -1000 {
			return nil, meta.ErrUnavailable // the client is cut off from then on
		}
		return f.Direct.Propose(ctx, group, cmd)
	}
	if f.execute {
		_, _ = f.Direct.Propose(ctx, group, cmd)
	}
	return nil, meta.ErrUnavailable
}

func (f *flaky) heal() { f.left = -1000 }

func newFlaky(t testing.TB) (*meta.Client, *flaky) {
	t.Helper()
	machine, err := state.Open(t.TempDir(), state.Config{})
	must(t, err)
	t.Cleanup(func() { must(t, machine.Close()) })
	f := &flaky{Direct: metatest.NewDirect(machine, metatest.Groups)}
	f.heal()
	return meta.NewClient(f), f
}

// TestInterruptedBucket cuts CreateBucket and DeleteBucket off after every possible command. The
// next call of the same kind succeeds, and then all groups agree.
func TestInterruptedBucket(t *testing.T) {
	for _, execute := range []bool{false, true} {
		for n := range 3 * metatest.Groups {
			t.Run(fmt.Sprintf("command %d, executed %v", n, execute), func(t *testing.T) {
				c, f := newFlaky(t)
				f.execute = execute
				interrupted(t, c, f, n)
			})
		}
	}
}

func interrupted(t *testing.T, c *meta.Client, f *flaky, n int) {
	ctx := t.Context()
	b := meta.Bucket{Name: bucket, Owner: "me"}
	f.left = n
	err := c.CreateBucket(ctx, b)
	f.heal()
	if err != nil {
		if err := c.CreateBucket(ctx, b); err != nil && !errors.Is(err, meta.ErrBucketExists) {
			t.Fatal(err)
		}
	}
	everywhere(t, c, true)

	put(t, c, "key", "body")
	f.left = n
	err = c.DeleteBucket(ctx, bucket)
	f.heal()
	if err == nil {
		t.Fatal("a bucket with an object was deleted")
	}
	wantErr(t, c.DeleteBucket(ctx, bucket), meta.ErrBucketNotEmpty)
	everywhere(t, c, true)
	wantBody(t, c, "key", nil, "body")
	remove(t, c, "key", nil)

	f.left = n
	err = c.DeleteBucket(ctx, bucket)
	f.heal()
	if err != nil {
		if err := c.DeleteBucket(ctx, bucket); err != nil && !errors.Is(err, meta.ErrNoSuchBucket) {
			t.Fatal(err)
		}
	}
	everywhere(t, c, false)

	f.left = n
	must(t, ignoreUnavailable(c.CreateBucket(ctx, b)))
	f.left = n
	must(t, ignoreUnavailable(c.DeleteBucket(ctx, bucket)))
	f.heal()
	if err := c.CreateBucket(ctx, b); err != nil && !errors.Is(err, meta.ErrBucketExists) {
		t.Fatal(err)
	}
	everywhere(t, c, true)
}

func ignoreUnavailable(err error) error {
	if errors.Is(err, meta.ErrUnavailable) || errors.Is(err, meta.ErrNoSuchBucket) {
		return nil
	}
	return err
}

// everywhere checks that every group has the bucket, or that none has it.
func everywhere(t *testing.T, c *meta.Client, exists bool) {
	t.Helper()
	groups := make(map[int]bool)
	for i := 0; len(groups) < c.Groups(); i++ {
		key := fmt.Sprint("probe", i)
		groups[int(c.NewBlobID(bucket, key)[1])] = true
		_, err := c.PutObject(t.Context(), inline(key, "probe"))
		if exists && err != nil {
			t.Errorf("group of %s: %v", key, err)
		}
		if !exists && !errors.Is(err, meta.ErrNoSuchBucket) {
			t.Errorf("group of %s has the bucket still: %v", key, err)
		}
		if exists {
			remove(t, c, key, nil)
		}
	}
	_, err := c.Bucket(t.Context(), bucket, meta.Linearizable)
	if exists != (err == nil) {
		t.Errorf("bucket: %v", err)
	}
}

// TestSlowCreator repeats the steps of a creation after the bucket was deleted: it stays deleted.
func TestSlowCreator(t *testing.T) {
	c, f := newFlaky(t)
	f.left = 1
	wantErr(t, c.CreateBucket(t.Context(), meta.Bucket{Name: bucket}), meta.ErrUnavailable)
	f.heal()
	v, err := f.Query(t.Context(), 0, meta.BucketQuery{Name: bucket}, meta.Linearizable)
	must(t, err)
	record := v.(meta.Bucket)
	must(t, c.CreateBucket(t.Context(), meta.Bucket{Name: bucket}))
	must(t, c.DeleteBucket(t.Context(), bucket))
	record.Creating = false
	for group := 1; group < c.Groups(); group++ {
		cmd, err := meta.EncodeCommand(meta.OpPutBucket, record.Created, meta.PutBucket{Bucket: record, Create: true})
		must(t, err)
		_, err = f.Propose(t.Context(), group, cmd)
		must(t, err)
	}
	everywhere(t, c, false)
}
