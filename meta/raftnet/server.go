package raftnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/meta/raftgroup"
)

// Status codes of this package.
const (
	statusNoHost    = 16 // the host that is meant is not here
	statusNoAnswer  = 17 // nobody answers questions here, or the answer failed
	statusBadFormat = 18
)

// Handle adds the methods of this package to s. Only processes that have metadata may call them.
func (t *Transport) Handle(s *rpc.Server) {
	s.Handle(MethodMessages, rpc.Meta, t.receive)
	s.Handle(MethodSnapshot, rpc.Meta, t.sendSnapshot)
	s.Handle(MethodAsk, rpc.Meta, t.answerQuestion)
	s.Handle(MethodTerms, rpc.Meta, t.answerTerms)
}

// buffer is for the bodies of frames.
type buffer struct{ p []byte }

// body returns n bytes.
func (b *buffer) body(n int) []byte {
	if cap(b.p) < n {
		b.p = make([]byte, n)
	}
	return b.p[:n]
}

func (t *Transport) release(b *buffer) {
	if cap(b.p) <= 2*frameBytes {
		t.buffers.Put(b)
	}
}

// receive takes a frame of messages.
func (t *Transport) receive(_ context.Context, r *rpc.Request) error {
	head, err := decodeFrameHead(r.Head)
	if err != nil {
		return err
	}
	if r.Size > maxFrameBytes {
		return fmt.Errorf("frame of %d bytes: %w", r.Size, ErrFormat)
	}
	b := t.buffers.Get().(*buffer)
	defer t.release(b)
	body := b.body(r.Size)
	if err := r.ReadBody(body); err != nil {
		return err
	}
	batch, err := decodeMessages(head, body)
	if err != nil {
		return err
	}
	host := t.receiver(head.to)
	if host == nil {
		return nil // it was here once
	}
	if len(batch) > 0 {
		if err := host.Receive(batch); err != nil {
			t.metrics.lost.Add(float64(len(batch)))
		}
	}
	if head.left {
		host.PeerGone(head.from)
	}
	return nil
}

// sendSnapshot streams the state of a group.
func (t *Transport) sendSnapshot(ctx context.Context, r *rpc.Request) error {
	want, err := decodeRequest(r.Head)
	if err != nil {
		return &rpc.StatusError{Code: statusBadFormat}
	}
	host := t.receiver(want.host)
	if host == nil {
		return &rpc.StatusError{Code: statusNoHost}
	}
	pinned, err := host.PinSnapshot(want.group)
	if err != nil {
		return err
	}
	head, err := encodePosition(pinned.Position())
	if err != nil {
		return errors.Join(err, pinned.Close())
	}
	w, err := r.ReplyStream(head)
	if err != nil {
		return errors.Join(err, pinned.Close())
	}
	return stream(ctx, pinned, w)
}

// stream writes a pinned state to w and releases it: also when its host stops or w takes nothing for too long, which
// may last longer. So the state goes through a pipe that can be broken.
func stream(ctx context.Context, pinned raftgroup.Snapshot, w io.Writer) error {
	pr, pw := io.Pipe()
	var writing sync.WaitGroup
	writing.Go(func() {
		_, err := pinned.WriteTo(pw)
		pw.CloseWithError(errors.Join(err, pinned.Close()))
	})
	defer writing.Wait()
	defer pr.Close()
	defer context.AfterFunc(ctx, func() { pr.CloseWithError(context.Cause(ctx)) })()
	stalled := time.AfterFunc(stallAfter, func() { pr.CloseWithError(errStalled) })
	defer stalled.Stop()
	_, err := io.CopyBuffer(&progress{w, stalled}, pr, make([]byte, 64<<10))
	return err
}

// progress puts off a timer with every write.
type progress struct {
	io.Writer
	timer *time.Timer
}

func (p *progress) Write(b []byte) (int, error) {
	n, err := p.Writer.Write(b)
	p.timer.Reset(stallAfter)
	return n, err
}

// Answer has the questions of other processes, in a format of the caller's, answered by f.
func (t *Transport) Answer(f func(ctx context.Context, question []byte) (answer []byte, err error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answer = f
}

func (t *Transport) answerQuestion(ctx context.Context, r *rpc.Request) error {
	t.mu.Lock()
	answer := t.answer
	t.mu.Unlock()
	if answer == nil {
		return &rpc.StatusError{Code: statusNoAnswer}
	}
	reply, err := answer(ctx, r.Head)
	if err != nil {
		return &rpc.StatusError{Code: statusNoAnswer, Detail: []byte(err.Error())}
	}
	return r.Reply(reply, nil)
}
