package rpc

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// stall bounds how long a body or an answer may take to move when the call has no deadline: the process at the other
// end may be stopped, and the buffers are needed.
const stall = 30 * time.Second

// A body may take as long as the caller waits, but each piece of it must come within pieceTime: a process that is stopped
// in the middle of many would else hold the memory for them, which the calls of others wait for.
const (
	pieceSize = 256 << 10
	pieceTime = 3 * time.Second
)

// Request is a call as the server sees it. It is valid until the handler returns; Head, too.
type Request struct {
	From   Identity
	Method Method
	Head   []byte
	Size   int // of the body, bytes

	conn     *conn
	oneWay   bool
	unread   int       // bytes of the body that are still to come
	deadline time.Time // of the caller; zero: none
	state    replyState
	written  int  // bytes of the answer
	bounded  bool // the connection has a deadline
}

type replyState uint8

const (
	replyNone replyState = iota
	replyDone
	replyStreaming
)

// Errors of a handler that uses a Request wrongly.
var (
	errReplied = errors.New("rpc: a call is answered once")
	errOneWay  = errors.New("rpc: a one-way call is not answered")
	errRead    = errors.New("rpc: a body is read once, whole")
)

// reset makes r the request of a frame.
func (r *Request) reset(h header, head []byte) {
	*r = Request{
		From: r.From, conn: r.conn,
		Method: h.method, Head: head, Size: h.bodySize, unread: h.bodySize, oneWay: h.kind == kindOneWay,
	}
}

// ReadBody reads the whole body into p, which has Size bytes. Once at most; what is not read is skipped.
func (r *Request) ReadBody(p []byte) error {
	if len(p) != r.Size || r.unread != r.Size || r.state != replyNone {
		return errRead
	}
	r.unread = 0
	for len(p) > 0 {
		piece := p[:min(len(p), pieceSize)]
		if !r.conn.buffered(len(piece)) {
			r.boundWithin(pieceTime)
		}
		if err := r.conn.readFull(piece); err != nil {
			r.conn.failed = true
			return fmt.Errorf("%w: %s: %w", ErrBroken, r.From.Node, err)
		}
		p = p[len(piece):]
	}
	return nil
}

// Reply answers. Neither slice is copied before it is written. Once at most.
func (r *Request) Reply(head, body []byte) error {
	return r.reply(header{kind: kindAnswer}, head, body, replyDone)
}

// ReplyStream answers with a head and a stream, for Client.Open. The writer is closed by the return of the handler: well with nil,
// cut off with an error.
func (r *Request) ReplyStream(head []byte) (io.Writer, error) {
	if err := r.reply(header{kind: kindStream}, head, nil, replyStreaming); err != nil {
		return nil, err
	}
	return pieces{r}, nil
}

func (r *Request) reply(h header, head, body []byte, next replyState) error {
	switch {
	case r.oneWay:
		return errOneWay
	case r.state != replyNone:
		return errReplied
	}
	if err := r.skipRest(); err != nil {
		return err
	}
	if err := r.write(h, head, body); err != nil {
		return err
	}
	r.state = next
	return nil
}

// skipRest takes the unread part of the body off the connection. Before the answer: the caller reads nothing until it has
// sent everything.
func (r *Request) skipRest() error {
	if r.unread == 0 {
		return nil
	}
	if !r.conn.buffered(r.unread) {
		r.bound()
	}
	n := r.unread
	r.unread = 0
	if err := r.conn.skip(n); err != nil {
		r.conn.failed = true
		return fmt.Errorf("%w: %s: %w", ErrBroken, r.From.Node, err)
	}
	return nil
}

// write sends a frame. Small ones fit into the socket's buffer, which is empty when a call begins.
func (r *Request) write(h header, head, body []byte) error {
	if r.bounded || len(head)+len(body) > copyBelow || h.kind == kindPiece {
		r.bound()
	}
	n, err := r.conn.write(h, head, body)
	r.written += n
	switch {
	case errors.Is(err, ErrTooLarge):
		return err
	case err != nil:
		r.conn.failed = true
		return fmt.Errorf("%w: %s: %w", ErrBroken, r.From.Node, err)
	}
	return nil
}

// bound gives the connection a deadline: that of the caller, or a while from now.
func (r *Request) bound() {
	deadline := r.deadline
	if deadline.IsZero() {
		deadline = time.Now().Add(stall)
	}
	r.bounded = true
	r.conn.raw.SetDeadline(deadline)
}

// boundWithin is bound for what must come within a time.
func (r *Request) boundWithin(limit time.Duration) {
	deadline := time.Now().Add(limit)
	if !r.deadline.IsZero() && r.deadline.Before(deadline) {
		deadline = r.deadline
	}
	r.bounded = true
	r.conn.raw.SetDeadline(deadline)
}

// finish says what is left to say when the handler has returned, and tells whether the connection can take another call.
func (r *Request) finish(status *StatusError) bool {
	var err error
	switch {
	case r.conn.failed:
		return false
	case r.oneWay:
		if status != nil {
			return false
		}
		err = r.skipRest()
	case r.state == replyStreaming && status != nil:
		err = r.write(header{kind: kindAbort, status: status.Code}, detail(status), nil)
	case r.state == replyStreaming:
		err = r.write(header{kind: kindEnd}, nil, nil)
	case r.state == replyNone && status != nil:
		err = r.reply(header{kind: kindError, status: status.Code}, detail(status), nil, replyDone)
	case r.state == replyNone:
		err = r.reply(header{kind: kindAnswer}, nil, nil, replyDone)
	}
	if r.bounded && err == nil {
		err = r.conn.raw.SetDeadline(time.Time{})
	}
	return err == nil
}

// detail bounds what a status tells.
func detail(status *StatusError) []byte {
	return status.Detail[:min(len(status.Detail), MaxHead)]
}

// pieces is the writer of a stream.
type pieces struct{ r *Request }

func (w pieces) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		piece := p[:min(len(p), MaxBody)]
		if err := w.r.write(header{kind: kindPiece}, nil, piece); err != nil {
			return written, err
		}
		written += len(piece)
		p = p[len(piece):]
	}
	return written, nil
}
