package metatest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"kintsugi/meta"
)

// flaky is a Consensus whose n-th command from now fails with ErrUnavailable, executed or not.
type flaky struct {
	*Direct
	execute bool

	mu   sync.Mutex
	left int // commands until the failing one; far below 0: none fails
}

func (f *flaky) Propose(ctx context.Context, group int, cmd []byte) (any, error) {
	f.mu.Lock()
	f.left--
	left := f.left
	f.mu.Unlock()
	if left != -1 {
		if left < -1 && left > healed {
			return nil, meta.ErrUnavailable // the client is cut off from then on
		}
		return f.Direct.Propose(ctx, group, cmd)
	}
	if f.execute {
		_, _ = f.Direct.Propose(ctx, group, cmd)
	}
	return nil, meta.ErrUnavailable
}

const healed = -1000

func (f *flaky) cut(after int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = after
}

func (f *flaky) heal() { f.cut(healed) }

func newFlaky(t testing.TB) (*meta.Client, *flaky) {
	t.Helper()
	f := &flaky{Direct: NewDirect(t, Groups)}
	f.heal()
	return meta.NewClient(f), f
}

// TestInterruptedBucket cuts CreateBucket and DeleteBucket off after every possible command. The
// next call of the same kind succeeds, and then all groups agree.
func TestInterruptedBucket(t *testing.T) {
	for _, execute := range []bool{false, true} {
		for n := range 3 * Groups {
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
	f.cut(n)
	err := c.CreateBucket(ctx, b)
	f.heal()
	if err != nil {
		if err := c.CreateBucket(ctx, b); err != nil && !errors.Is(err, meta.ErrBucketExists) {
			t.Fatal(err)
		}
	}
	everywhere(t, c, true)

	put(t, c, "key", "body")
	f.cut(n)
	err = c.DeleteBucket(ctx, bucket)
	f.heal()
	if err == nil {
		t.Fatal("a bucket with an object was deleted")
	}
	wantErr(t, c.DeleteBucket(ctx, bucket), meta.ErrBucketNotEmpty)
	everywhere(t, c, true)
	wantBody(t, c, "key", nil, "body")
	remove(t, c, "key", nil)

	f.cut(n)
	err = c.DeleteBucket(ctx, bucket)
	f.heal()
	if err != nil {
		if err := c.DeleteBucket(ctx, bucket); err != nil && !errors.Is(err, meta.ErrNoSuchBucket) {
			t.Fatal(err)
		}
	}
	everywhere(t, c, false)

	f.cut(n)
	must(t, ignoreUnavailable(c.CreateBucket(ctx, b)))
	f.cut(n)
	must(t, ignoreUnavailable(c.DeleteBucket(ctx, bucket)))
	f.heal()
	must(t, ignoreUnavailable(c.DeleteBucket(ctx, bucket)))
	must(t, c.CreateBucket(ctx, b))
	everywhere(t, c, true)
}

// TestAbandonedDelete lets a deletion stop half-way and nobody resume it: the next writer does, after a while.
func TestAbandonedDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the while is virtual
		c, f := newFlaky(t)
		must(t, c.CreateBucket(t.Context(), meta.Bucket{Name: bucket}))
		put(t, c, "key", "body")
		f.cut(Groups)
		wantErr(t, c.DeleteBucket(t.Context(), bucket), meta.ErrUnavailable)
		f.heal()
		wantBody(t, c, "key", nil, "body")
		put(t, c, "key", "newer")
		everywhere(t, c, true)
	})
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
	f.cut(1)
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

// TestBucketRace creates, deletes and fills one bucket from many goroutines. A bucket with an object in it
// is never deleted, and in the end all groups agree.
func TestBucketRace(t *testing.T) {
	c := New(t)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for range 30 {
				_ = c.CreateBucket(t.Context(), meta.Bucket{Name: bucket})
				_ = c.DeleteBucket(t.Context(), bucket)
			}
		})
		wg.Go(func() {
			for i := range 60 {
				key := fmt.Sprint("key", worker, i)
				if _, err := c.PutObject(t.Context(), inline(key, key)); err != nil {
					continue
				}
				wantBody(t, c, key, nil, key)
				if _, err := c.DeleteObject(t.Context(), meta.DeleteObject{Bucket: bucket, Key: key}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := c.CreateBucket(t.Context(), meta.Bucket{Name: bucket}); err != nil {
		wantErr(t, err, meta.ErrBucketExists)
	}
	everywhere(t, c, true)
}
