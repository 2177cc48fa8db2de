package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"kintsugi/gateway/checksum"
	"kintsugi/meta"
)

const (
	// maxObjectBytes is the most that one PUT or part takes.
	maxObjectBytes = 5 << 30

	// earlyCheckBytes is the body from which on it is worth to ask the metadata before it is sent.
	earlyCheckBytes = 1 << 20

	// removeTimeout bounds the removal of what a refused PUT left behind; the orphan sweep does the rest.
	removeTimeout = time.Minute
)

// upload is what the header of a PUT says.
type upload struct {
	headers   meta.Headers
	condition meta.Condition
	expected  checksum.Expected
}

// checkPut holds the header of a PUT against everything that can be known before its body.
func (r *request) checkPut() (err error) {
	if r.put.headers, err = r.objectHeaders(); err != nil {
		return err
	}
	if r.put.condition, err = r.writeCondition(); err != nil {
		return err
	}
	if err := r.checkUpload(); err != nil {
		return err
	}
	size := r.body.DecodedLength()
	if size >= 0 && size < earlyCheckBytes && !r.ctx.Request.MayContinue() {
		return nil
	}
	return r.checkTarget(r.put.condition)
}

// checkUpload reads the checksums that the client sends and checks the body's length.
func (r *request) checkUpload() (err error) {
	if r.put.expected, err = checksum.Parse(r.headers.lookup); err != nil {
		return err
	}
	if size := r.body.DecodedLength(); size > maxObjectBytes {
		return errEntityTooLarge.withField("ProposedSize", formatInt(int(size))).withField("MaxSizeAllowed", formatInt(maxObjectBytes))
	}
	return nil
}

// checkTarget refuses early what the commit would refuse: a missing bucket, a condition that does not hold now.
func (r *request) checkTarget(condition meta.Condition) error {
	ctx, cancel := r.context()
	defer cancel()
	if err := r.expectBucket(ctx); err != nil {
		return err
	}
	if condition == (meta.Condition{}) {
		return nil
	}
	v, err := r.server.config.Meta.Object(ctx, meta.GetObject{Bucket: r.bucket, Key: r.key})
	switch {
	case errors.Is(err, meta.ErrNoSuchKey):
		if condition.IfMatch != "" {
			return errNoSuchKey
		}
		return nil
	case err != nil:
		return err
	case condition.IfNoneMatch, condition.IfMatch != "*" && condition.IfMatch != v.ETag:
		return conditional(meta.ErrPrecondition, condition)
	}
	return nil
}

// putObject stores a body and then makes it visible.
func (r *request) putObject() error {
	if !validBucketName(r.bucket) {
		return errNoSuchBucket
	}
	stored, err := r.storeBody()
	if err != nil {
		return err
	}
	defer stored.release()
	ctx, cancel := r.context()
	defer cancel()
	put, err := r.server.config.Meta.PutObject(ctx, meta.PutObject{
		Bucket: r.bucket,
		Key:    r.key,
		Version: meta.Version{
			Size: stored.size, ETag: stored.sum.ETag(), Checksum: stored.sum.Checksum, Headers: r.put.headers,
			Blobs: stored.blobs, Inline: stored.inline, RequestID: r.id,
		},
		Body:      stored.body,
		Condition: r.put.condition,
		Started:   stored.started,
	})
	if err != nil {
		stored.discard(err)
		return conditional(err, r.put.condition)
	}
	r.answerPut(put)
	return nil
}

// answerPut tells of the version that a write made.
func (r *request) answerPut(put meta.Put) {
	h := r.respond(200)
	h.Set("ETag", quote(put.ETag))
	setChecksum(h, put.Checksum, 0)
	if put.Versioned {
		h.Set("x-amz-version-id", formatVersion(put.Version))
	}
}

// storedBody is a body that was received, verified and stored, but belongs to nothing yet.
type storedBody struct {
	request *request
	size    int64
	sum     checksum.Sum
	inline  bool
	body    []byte      // of an inline body
	buffer  *[]byte     // that body lies in; nil for none
	blobs   []meta.Blob // of any other
	started int64       // when the blob was begun, Unix milliseconds
}

// storeBody receives the request's body: a small one into memory, for the metadata record,
// any other into a blob.
func (r *request) storeBody() (*storedBody, error) {
	s := &storedBody{request: r}
	size := r.body.DecodedLength()
	if size > int64(r.server.config.InlineLimit) {
		return s, s.storeBlob(r.body, size)
	}
	s.buffer = r.server.bodies.Get().(*[]byte)
	buffer := (*s.buffer)[:r.server.config.InlineLimit+1]
	if size >= 0 {
		buffer = buffer[:size+1]
	}
	n, err := io.ReadFull(r.body, buffer)
	switch err {
	case io.EOF, io.ErrUnexpectedEOF: // all of it is here
		if err = r.drained(err); err == nil {
			s.inline, s.size, s.body = true, int64(n), buffer[:n]
			s.sum = checksum.Of(r.put.expected.Algorithm, s.body)
			err = r.verifyBody(s.sum)
		}
	case nil: // longer than the limit, and of unknown length
		err = s.storeBlob(io.MultiReader(bytes.NewReader(buffer), r.body), -1)
	}
	if err != nil {
		s.release()
	}
	return s, err
}

// drained tells a body that ended from one that was cut off: io.ReadFull reports both alike.
func (r *request) drained(end error) error {
	if end == io.EOF {
		return nil
	}
	var probe [1]byte
	if _, err := r.body.Read(probe[:]); err != io.EOF {
		return err
	}
	return nil
}

// storeBlob writes the body as a blob and verifies it. Nothing of it stays if that fails.
func (s *storedBody) storeBlob(body io.Reader, size int64) error {
	r := s.request
	digest := r.server.hasher.New(r.put.expected.Algorithm, size)
	defer digest.Close()
	s.started = r.server.config.Now().UnixMilli()
	id := r.server.config.Meta.NewBlobID(r.bucket, r.key)
	limited := &limitedBody{source: body, left: maxObjectBytes}
	b, err := r.server.config.Blobs.Write(context.Background(), id, limited, size, digest)
	if err != nil {
		return limited.cause(err)
	}
	s.blobs, s.size = []meta.Blob{b}, b.Size
	s.sum = digest.Sum()
	if err = r.drained(io.ErrUnexpectedEOF); err == nil {
		err = r.verifyBody(s.sum)
	}
	if err != nil {
		s.discard(err)
	}
	return err
}

// verifyBody compares what was received with the checksums that the client sent.
func (r *request) verifyBody(sum checksum.Sum) error {
	return r.put.expected.Verify(sum, r.body.Trailer(r.put.expected.Trailer()))
}

// checkDocument verifies the checksums of a body that is a document.
func (r *request) checkDocument(data []byte) error {
	expected, err := checksum.Parse(r.headers.lookup)
	if err != nil || !expected.Given() {
		return err
	}
	return expected.Verify(checksum.Of(expected.Algorithm, data), r.body.Trailer(expected.Trailer()))
}

// release gives the buffer of an inline body back.
func (s *storedBody) release() {
	if s.buffer != nil {
		s.request.server.bodies.Put(s.buffer)
		s.buffer, s.body = nil, nil
	}
}

// discard removes the blobs of a write that failed because of cause. Where the outcome of the commit is not
// known they stay: if nothing refers to them, the orphan sweep takes them.
func (s *storedBody) discard(cause error) {
	if len(s.blobs) == 0 || !refused(cause) {
		return
	}
	server, blobs := s.request.server, s.blobs
	server.removals.Go(func() {
		ctx, cancel := context.WithTimeout(server.removing, removeTimeout)
		defer cancel()
		for _, b := range blobs {
			if err := server.config.Blobs.Remove(ctx, b); err != nil {
				server.config.Logger.Info("blob left to the sweep", slog.String("blob", b.ID.String()), slog.Any("error", err))
			}
		}
	})
}

// refused tells whether err says that a write has certainly not happened, and will not: the body was
// bad, or the state machine answered the one command that was sent.
func refused(err error) bool {
	answer := answerTo(err)
	return answer.Status < 500 && answer.Code != errRequestTimeout.Code && !errors.Is(err, meta.ErrUncertain)
}

// limitedBody ends a body of unknown length that exceeds the most that S3 takes, and remembers why reading failed.
type limitedBody struct {
	source io.Reader
	left   int64
	err    error
}

func (l *limitedBody) Read(p []byte) (int, error) {
	if l.left <= 0 {
		var probe [1]byte
		if n, err := l.source.Read(probe[:]); n == 0 {
			l.err = err
			return 0, err
		}
		l.err = errLongBody
		return 0, l.err
	}
	n, err := l.source.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	l.err = err
	return n, err
}

// cause prefers the body's own failure to what the data path made of it.
func (l *limitedBody) cause(err error) error {
	if l.err != nil && l.err != io.EOF {
		return l.err
	}
	return err
}
