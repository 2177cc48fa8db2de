package raftnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/meta/raftgroup"
)

// stallAfter is how long a snapshot may make no progress: a process that is stopped keeps its connections.
const stallAfter = 10 * time.Second

var errStalled = errors.New("snapshot makes no progress")

// OpenSnapshot implements raftgroup.Transport.
func (t *Transport) OpenSnapshot(ctx context.Context, _, to uint64, group uint32) (raftgroup.SnapshotReader, error) {
	addr, ok := t.cfg.Resolve(to)
	if !ok {
		return nil, raftgroup.ErrUnreachable
	}
	opening, cancel := context.WithCancel(ctx)
	s := &snapshotReader{cancel: cancel}
	s.timer = time.AfterFunc(stallAfter, s.stall)
	head, body, err := t.cfg.Client.Open(opening, addr, &rpc.Call{
		Method: MethodSnapshot, Head: request{host: to, group: group}.encode(), Idempotent: true,
	})
	if err != nil {
		s.timer.Stop()
		cancel()
		return nil, fmt.Errorf("open snapshot of group %d at %s: %w", group, addr, err)
	}
	s.timer.Reset(stallAfter)
	s.body = body
	if s.at, err = decodePosition(head); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// snapshotReader reads the stream of a peer and gives up when nothing comes.
type snapshotReader struct {
	at      raftgroup.Position
	body    io.ReadCloser
	cancel  context.CancelFunc
	timer   *time.Timer // for the bytes that are waited for
	stalled atomic.Bool
}

func (s *snapshotReader) stall() {
	s.stalled.Store(true)
	s.cancel()
}

// Position implements raftgroup.SnapshotReader.
func (s *snapshotReader) Position() raftgroup.Position { return s.at }

func (s *snapshotReader) Read(p []byte) (int, error) {
	s.timer.Reset(stallAfter)
	n, err := s.body.Read(p)
	s.timer.Stop()
	if err != nil && err != io.EOF && s.stalled.Load() {
		err = errStalled
	}
	return n, err
}

// Close ends the stream.
func (s *snapshotReader) Close() error {
	s.timer.Stop()
	err := s.body.Close()
	s.cancel()
	return err
}

// Ask has the process that has the host to answer a question.
func (t *Transport) Ask(ctx context.Context, to uint64, question []byte) ([]byte, error) {
	addr, ok := t.cfg.Resolve(to)
	if !ok {
		return nil, raftgroup.ErrUnreachable
	}
	reply, err := t.cfg.Client.Do(ctx, addr, &rpc.Call{Method: MethodAsk, Head: question, Idempotent: true})
	if err != nil {
		return nil, fmt.Errorf("ask replica %d: %w", to, err)
	}
	return reply.Head, nil
}
