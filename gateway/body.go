package gateway

import (
	"errors"
	"io"
	"os"
	"time"
)

// errLongBody says that a body is longer than the operation takes.
var errLongBody = errors.New("body is too long")

// rawBody is the request's body as the connection delivers it. fasthttp reports
// a body that was cut off as a plain end; rawBody tells the two apart by the state of
// the connection, for no complete body makes the server read up to the connection's end.
type rawBody struct {
	source  io.Reader // nil: the request has none
	conn    *conn
	granted int           // bytes that may still come within the current allowance of time
	waited  time.Duration // of that allowance; the time between reads is not the client's
	read    int64         // bytes so far
	atEnd   bool
	err     error // the first failure, kept
}

func (b *rawBody) Read(p []byte) (int, error) {
	if b.source == nil || b.atEnd {
		b.atEnd = true
		return 0, io.EOF
	}
	if b.err != nil {
		return 0, b.err
	}
	if b.granted <= 0 {
		b.granted, b.waited = progressBytes, 0
	}
	start := time.Now()
	if err := b.conn.SetReadDeadline(start.Add(b.conn.listener.transfer - b.waited)); err != nil {
		return 0, b.fail(err)
	}
	n, err := b.source.Read(p)
	b.waited += time.Since(start)
	b.granted -= n
	b.read += int64(n)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF && !b.conn.ended:
		b.atEnd = true
		return n, io.EOF
	default:
		return n, b.fail(err)
	}
}

// fail keeps the reason why the body cannot be read on.
func (b *rawBody) fail(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.err = errRequestTimeout
	default: // cut off, or its framing is broken
		b.err = errIncompleteBody
	}
	return b.err
}
