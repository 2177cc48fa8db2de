package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// answer is the beginning of what came back for a call; the body is still to be read from the connection.
type answer struct {
	link   *link
	stop   func() bool // of link.watch
	header header
	head   []byte
}

// cut gives up the connection.
func (a answer) cut() {
	a.stop()
	a.link.peer.drop(a.link.raw)
}

// take reads the body of an answer that is no stream. An error means that the connection is of no use any more.
func (a answer) take(into []byte) (Reply, error) {
	size := a.header.bodySize
	switch {
	case a.header.kind == kindError:
		return Reply{}, a.link.skip(size)
	case a.header.kind != kindAnswer:
		return Reply{}, fmt.Errorf("%w: kind %d for an answer", ErrFormat, a.header.kind)
	case into != nil && len(into) != size:
		return Reply{}, fmt.Errorf("%w: body of %d bytes, want %d", ErrFormat, size, len(into))
	case into == nil && size > 0:
		into = make([]byte, size)
	}
	return Reply{Head: a.head, Body: into}, a.link.readFull(into)
}

// failure is what the other end reported, nil after an answer.
func (a answer) failure(addr string) error {
	if a.header.kind != kindError {
		return nil
	}
	switch a.header.status {
	case codeRefused:
		return fmt.Errorf("%w: %s", ErrRefused, addr)
	case codeDeadline:
		return fmt.Errorf("%s: there: %w", addr, context.DeadlineExceeded)
	default:
		return &StatusError{Code: a.header.status, Detail: a.head}
	}
}

// Open sends a call whose answer is a stream: the head comes first, then the body until its end; a stream that was
// cut off ends with io.ErrUnexpectedEOF, wrapped, never with io.EOF. The body must be closed; until then ctx bounds it.
// A plain answer comes as a stream of its body.
func (c *Client) Open(ctx context.Context, addr string, call *Call) (head []byte, body io.ReadCloser, err error) {
	head, body, err = c.open(ctx, addr, call)
	if err != nil {
		c.metrics.failed(call.Method, err)
		return nil, nil, err
	}
	return head, body, nil
}

func (c *Client) open(ctx context.Context, addr string, call *Call) ([]byte, *answerBody, error) {
	p, err := c.enter(ctx, addr, call)
	if err != nil {
		return nil, nil, err
	}
	a, err := c.start(ctx, p, call)
	if err != nil {
		p.leave()
		return nil, nil, err
	}
	switch a.header.kind {
	case kindStream:
		return a.head, &answerBody{client: c, ctx: ctx, answer: a}, nil
	case kindAnswer:
		return a.head, &answerBody{client: c, ctx: ctx, answer: a, left: a.header.bodySize, last: true}, nil
	}
	defer p.leave()
	if _, err := a.take(nil); err != nil {
		a.cut()
		return nil, nil, broken(ctx, addr, err)
	}
	c.done(a)
	return nil, nil, a.failure(addr)
}

// answerBody is the stream of an answer. It holds its connection until its end or Close.
type answerBody struct {
	client *Client
	ctx    context.Context // of Open, which bounds the body, too
	answer answer
	left   int   // bytes of this piece
	last   bool  // no frames follow
	err    error // set at the end
}

func (b *answerBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, b.err
	}
	for b.err == nil && b.left == 0 {
		b.next()
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.answer.link.readSome(p[:min(len(p), b.left)])
	b.left -= n
	if err != nil {
		b.cutOff(err)
		return n, b.err
	}
	return n, nil
}

// next reads the frame that follows a piece.
func (b *answerBody) next() {
	if b.last {
		b.end()
		return
	}
	h, head, err := b.answer.link.read(nil)
	switch {
	case err != nil:
		b.cutOff(err)
	case h.kind == kindPiece && h.headSize == 0:
		b.left = h.bodySize
		b.client.metrics.received(h)
	case h.kind == kindEnd && h.headSize == 0 && h.bodySize == 0:
		b.end()
	case h.kind == kindAbort && h.bodySize == 0:
		b.cutOff(&StatusError{Code: h.status, Detail: head})
	default:
		b.cutOff(fmt.Errorf("%w: kind %d in a stream", ErrFormat, h.kind))
	}
}

// end is the good end.
func (b *answerBody) end() {
	b.err = io.EOF
	b.client.done(b.answer)
	b.answer.link.peer.leave()
}

// cutOff is every other one.
func (b *answerBody) cutOff(cause error) {
	b.answer.cut()
	b.answer.link.peer.leave()
	switch {
	case b.ctx.Err() != nil:
		cause = b.ctx.Err()
	case errors.Is(cause, io.EOF):
		cause = ErrBroken
	}
	b.err = fmt.Errorf("%w: %s: %w", io.ErrUnexpectedEOF, b.answer.link.peer.addr, cause)
}

var errBodyClosed = errors.New("read of a closed body")

// Close ends the stream early, which costs its connection, or does nothing after the end.
func (b *answerBody) Close() error {
	if b.err == nil {
		b.cutOff(errBodyClosed)
	}
	return nil
}
