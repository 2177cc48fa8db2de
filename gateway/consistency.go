package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"kintsugi/meta"
)

// consistencyHeader lets a read choose how fresh it must be, and a CreateBucket how those reads of the bucket are
// answered that do not choose.
const consistencyHeader = "x-kintsugi-consistency"

var consistencyNames = map[string]meta.Consistency{"linearizable": meta.Linearizable, "eventual": meta.Eventual}

// parseConsistency reads the header; without it the result is linearizable.
func (r *request) parseConsistency() (c meta.Consistency, chosen bool, err error) {
	text, chosen := r.headers.lookup(consistencyHeader)
	if !chosen {
		return meta.Linearizable, false, nil
	}
	c, known := consistencyNames[text]
	if !known {
		return c, true, errInvalidArgument.withMessage("The consistency must be eventual or linearizable.").
			withField("ArgumentName", consistencyHeader).withField("ArgumentValue", text)
	}
	return c, true, nil
}

// staleBuckets are the buckets that were lately found to want eventual reads: a GET does not ask what its bucket
// wants, it learns that from its answer and the next one goes by it.
type staleBuckets struct {
	mu    sync.RWMutex
	heard map[string]time.Time // when an answer last said so
}

const (
	// staleTrust is how long a bucket's setting is believed without being heard again.
	staleTrust = 5 * time.Second
	// staleRefresh keeps every read from writing down what it heard.
	staleRefresh = time.Second
	// maxStaleBuckets bounds the memory. Beyond it the reads of other buckets are linearizable.
	maxStaleBuckets = 10_000
)

// of returns what the bucket was last known to want; sure is false if that was too long ago to go by.
func (s *staleBuckets) of(bucket string, now time.Time) (c meta.Consistency, sure bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at, ok := s.heard[bucket]
	if !ok {
		return meta.Linearizable, true
	}
	return meta.Eventual, now.Sub(at) < staleTrust
}

// learn notes what an answer said of its bucket.
func (s *staleBuckets) learn(bucket string, c meta.Consistency, now time.Time) {
	s.mu.RLock()
	at, known := s.heard[bucket]
	s.mu.RUnlock()
	if !known && c == meta.Linearizable || known && c == meta.Eventual && now.Sub(at) < staleRefresh {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c == meta.Linearizable:
		delete(s.heard, bucket)
	case known || len(s.heard) < maxStaleBuckets:
		if s.heard == nil {
			s.heard = make(map[string]time.Time)
		}
		s.heard[bucket] = now
	}
}

// read runs a read with the consistency that the header chooses or that the bucket is known to want, and returns which
// that was. Where the bucket wanted eventual reads when it was last heard of, and no quorum can say whether it still does, its
// word holds.
func (r *request) read(ask func(meta.Consistency) error) (meta.Consistency, error) {
	c, chosen, err := r.parseConsistency()
	if err != nil {
		return c, err
	}
	wanted, sure := r.server.stale.of(r.bucket, time.Now())
	if !chosen && sure {
		c = wanted
	}
	err = ask(c)
	if !chosen && !sure && errors.Is(err, meta.ErrUnavailable) {
		c, err = wanted, ask(wanted)
	}
	return c, err
}

// readObject returns the version that a GET or HEAD names, and how fresh it is.
func (r *request) readObject(ctx context.Context) (v meta.Version, c meta.Consistency, err error) {
	c, err = r.read(func(c meta.Consistency) error {
		v, err = r.objectRecord(ctx, r.method == get, c)
		return err
	})
	if err == nil {
		r.server.stale.learn(r.bucket, v.BucketConsistency, time.Now())
	}
	return v, c, err
}

// listedBucket looks the bucket of a listing up and returns how fresh the listing must be.
func (r *request) listedBucket(ctx context.Context) (meta.Consistency, error) {
	if !validBucketName(r.bucket) {
		return meta.Linearizable, errNoSuchBucket
	}
	var b meta.Bucket
	c, err := r.read(func(c meta.Consistency) (err error) {
		b, err = r.server.config.Meta.Bucket(ctx, r.bucket, c)
		return err
	})
	if err != nil {
		return c, err
	}
	r.server.stale.learn(r.bucket, b.Consistency, time.Now())
	if !r.headers.has(consistencyHeader) {
		c = b.Consistency
	}
	return c, nil
}
