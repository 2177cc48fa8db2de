package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"kintsugi/bench/chaos/history"
	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/placement"
)

const (
	simBucket  = "sim"
	simKeys    = 24
	simTimeout = 30 * time.Second // of a client
)

// simClients read and write the keys of one bucket through gateways, and remember what they saw. A body is made of its key and
// version, so a byte of another body, or of none, is found out.
type simClients struct {
	*simCluster
	ops  atomic.Uint32 // versions are numbers that are given once
	seen *history.Log

	mu       sync.Mutex // guards what follows
	failures []string   // operations that a client was told to have failed
	untidy   bool       // an operation failed, or a gateway died: shards that nobody wants may be left until the orphan sweep
	busy     bool       // clients are at work
	victims  []string   // processes that may lose what they keep
}

func simKey(i int) string { return fmt.Sprintf("key-%02d", i) }

// simSizes are those of bodies, in bytes: two that go into the metadata, three that become shards.
var simSizes = []int{100, 5000, 20_000, 70_000, 300_000}

// simBody returns the body of a version of a key.
func simBody(key string, version uint32) []byte {
	var seed [32]byte
	copy(seed[:], key)
	binary.LittleEndian.PutUint32(seed[16:], version)
	source := rand.NewChaCha8(seed)
	body := make([]byte, simSizes[source.Uint64()%uint64(len(simSizes))]+int(source.Uint64()%1000))
	source.Read(body)
	copy(body, binary.LittleEndian.AppendUint32(nil, version))
	return body
}

func simETag(version uint32) string { return fmt.Sprintf("%032x", version) }

// run has so many clients work until the returned function is called.
func (c *simClients) run(n int) (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	c.busy = true
	var working sync.WaitGroup
	for i := range n {
		r := rand.New(rand.NewPCG(c.seed, uint64(1000+i)))
		working.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
				c.once(r, uint16(i))
			}
		})
	}
	stop = func() { cancel(); working.Wait(); c.busy = false }
	c.t.Cleanup(stop)
	return stop
}

// once does one operation through a gateway that runs.
func (c *simClients) once(r *rand.Rand, client uint16) {
	names := c.names(rpc.Gateway)
	at := r.IntN(len(names))
	n := c.running(names[at])
	if n == nil || !n.isReady() {
		return
	}
	op := history.Op{Client: client, Endpoint: uint8(at), Key: int32(r.IntN(simKeys))}
	key := simKey(int(op.Key))
	ctx, cancel := context.WithTimeout(context.Background(), simTimeout)
	defer cancel()
	var err error
	op.Begin = time.Since(c.began)
	switch kind := r.IntN(20); {
	case kind < 10:
		op.Version, err = c.get(ctx, n, key)
	case kind < 12:
		op.Kind = history.Delete
		err = simDelete(ctx, n, key)
	case kind < 18:
		op.Kind, op.Version = history.Put, c.ops.Add(1)
		err = simPut(ctx, n, key, op.Version, meta.Condition{})
	default:
		op.Kind, op.Version = history.PutIfAbsent, c.ops.Add(1)
		if op.Expect, _ = c.get(ctx, n, key); op.Expect != history.NoVersion {
			op.Kind = history.PutIfMatch
		}
		op.Begin = time.Since(c.began)
		err = simPut(ctx, n, key, op.Version, simCondition(op.Expect))
		if errors.Is(err, meta.ErrPrecondition) || errors.Is(err, meta.ErrNoSuchKey) {
			op.Outcome, err = history.Refused, nil
		}
	}
	op.End = time.Since(c.began)
	c.saw(op, err, c.running(names[at]) == n)
}

// saw remembers an operation. What a process that has ended says no client hears.
func (c *simClients) saw(op history.Op, err error, heard bool) {
	switch {
	case !heard:
		op.Outcome = history.Aborted
	case err != nil:
		op.Outcome = history.Unavailable
	case op.Kind.Reads() && op.Version == history.NoVersion:
		op.Outcome = history.Absent
	}
	c.seen.Add(op)
	c.mu.Lock()
	defer c.mu.Unlock()
	if op.Outcome.Failed() {
		c.untidy = true
	}
	if op.Outcome == history.Unavailable {
		c.failures = append(c.failures, fmt.Sprintf("%s %v: %v", simKey(int(op.Key)), op, err))
	}
}

func simCondition(version uint32) meta.Condition {
	if version == history.NoVersion {
		return meta.Condition{IfNoneMatch: true}
	}
	return meta.Condition{IfMatch: simETag(version)}
}

// simPut writes a version as the S3 front does.
func simPut(ctx context.Context, n *node, key string, version uint32, condition meta.Condition) error {
	body := simBody(key, version)
	put := meta.PutObject{Bucket: simBucket, Key: key, Condition: condition}
	put.Version = meta.Version{Size: int64(len(body)), ETag: simETag(version)}
	if len(body) <= 16<<10 {
		put.Version.Inline, put.Body = true, body
	} else {
		var id placement.BlobID
		crand.Read(id[:])
		put.Started = time.Now().UnixMilli()
		b, err := n.blobs.Write(ctx, id, bytes.NewReader(body), int64(len(body)), nil)
		if err != nil {
			return fmt.Errorf("write shards: %w", err)
		}
		put.Version.Blobs = []meta.Blob{b}
	}
	_, err := n.meta.PutObject(ctx, put)
	if (errors.Is(err, meta.ErrPrecondition) || errors.Is(err, meta.ErrNoSuchKey)) && len(put.Version.Blobs) > 0 {
		n.blobs.Remove(ctx, put.Version.Blobs[0]) // what fails is left to the sweep
	}
	return err
}

func simDelete(ctx context.Context, n *node, key string) error {
	_, err := n.meta.DeleteObject(ctx, meta.DeleteObject{Bucket: simBucket, Key: key})
	return err
}

// get returns the version that a key has, and fails the test for good if its bytes are not those.
func (c *simClients) get(ctx context.Context, n *node, key string) (uint32, error) {
	v, err := n.meta.Object(ctx, meta.GetObject{Bucket: simBucket, Key: key, Body: true})
	if errors.Is(err, meta.ErrNoSuchKey) {
		return history.NoVersion, nil
	}
	if err != nil {
		return 0, err
	}
	body := v.Body
	if !v.Inline {
		if body, err = simRead(ctx, n, v); err != nil {
			return 0, fmt.Errorf("read shards of %v: %w", v.Blobs, err)
		}
	}
	var version uint32
	if _, err := fmt.Sscanf(v.ETag, "%x", &version); err != nil {
		return 0, fmt.Errorf("etag %q: %w", v.ETag, err)
	}
	if !bytes.Equal(body, simBody(key, version)) {
		c.t.Errorf("%s: the body of version %d has other bytes than it was written with", key, version)
	}
	return version, nil
}

func simRead(ctx context.Context, n *node, v meta.Version) ([]byte, error) {
	r, err := n.blobs.Read(ctx, v.Blobs, 0, v.Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body := make([]byte, v.Size)
	_, err = io.ReadFull(r, body)
	return body, err
}
