package bench

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/minio/sha256-simd"
)

// worker makes one request at a time on its own connection.
type worker struct {
	config *Config
	client *client
	bodies *bodies
	record *recorder
	random *rand.Rand

	req      request
	bucket   []byte // "/bucket/prefix", escaped
	tag      string // of the keys of this run
	check    checker
	failures int      // in a row
	mine     []uint64 // numbers of this worker's objects in a mixed run
	listed   []byte   // the page that was listed last
}

func newWorker(c *Config, b *bodies, tag string, number int) *worker {
	return &worker{
		config: c, client: newClient(*c), bodies: b, record: newRecorder(), tag: tag,
		random: rand.New(rand.NewPCG(c.Seed, uint64(number))),
		bucket: []byte("/" + escapePath(c.Bucket+"/"+c.Prefix)),
	}
}

// start begins a request for object n of the given series of keys.
func (w *worker) start(method, series string, n uint64) *request {
	path := append(append(w.req.path[:0], w.bucket...), series...)
	for limit := uint64(1e9); limit > n && limit > 1; limit /= 10 {
		path = append(path, '0')
	}
	w.req = request{method: method, path: strconv.AppendUint(path, n, 10), payloadHash: emptySHA256}
	return &w.req
}

// timed sends the request and records it.
func (w *worker) timed(ctx context.Context, kind string, r *request, sink func([]byte)) (response, error) {
	began := time.Now()
	resp, err := w.client.do(r, sink)
	if err == nil && kind == kindGet && resp.bodyBytes != int64(w.bodies.size) {
		err = fmt.Errorf("%w: %s has %d bytes, want %d", ErrBody, r.path, resp.bodyBytes, w.bodies.size)
	}
	if err == nil && kind == kindGet && sink != nil && w.check.bad {
		err = fmt.Errorf("%w: %s", ErrBody, r.path)
	}
	if err != nil {
		w.record.fail(kind, err)
		w.backOff(ctx)
		return resp, err
	}
	w.failures = 0
	w.record.done(kind, time.Since(began), int64(len(r.body))+resp.bodyBytes, 0)
	return resp, nil
}

// backOff keeps a dead endpoint from being asked in a tight loop.
func (w *worker) backOff(ctx context.Context) {
	pause := min(10*time.Millisecond<<min(w.failures, 10), time.Second)
	w.failures++
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

func (w *worker) put(ctx context.Context, series string, n uint64) error {
	r := w.start("PUT", series, n)
	r.body = w.bodies.of(n)
	w.authenticate(r)
	_, err := w.timed(ctx, kindPut, r, nil)
	return err
}

// authenticate chooses the payload hash of a body.
func (w *worker) authenticate(r *request) {
	switch w.config.Payload {
	case PayloadSigned:
		sum := sha256.Sum256(r.body)
		r.payloadHash = hex.EncodeToString(sum[:])
	case PayloadChunked:
		if w.client.signer != nil {
			r.payloadHash, r.decodedLength = chunkedPayload, strconv.Itoa(len(r.body))
		}
	default:
		r.payloadHash = unsignedPayload
	}
}

func (w *worker) get(ctx context.Context, series string, n uint64) {
	r := w.start("GET", series, n)
	var sink func([]byte)
	if w.config.Verify {
		w.check = checker{want: w.bodies.of(n)}
		sink = w.check.write
	}
	// What went wrong is recorded; the run goes on.
	_, _ = w.timed(ctx, kindGet, r, sink)
}

func (w *worker) head(ctx context.Context, series string, n uint64) {
	_, _ = w.timed(ctx, kindHead, w.start("HEAD", series, n), nil)
}

func (w *worker) remove(ctx context.Context, series string, n uint64) {
	_, _ = w.timed(ctx, kindDelete, w.start("DELETE", series, n), nil)
}
