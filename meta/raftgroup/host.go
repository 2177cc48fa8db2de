package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Host is one replica of every group. One goroutine, the loop, runs Raft for all of them and writes the log;
// another, the committer, executes what is committed.
type Host struct {
	cfg       Config
	log       *diskLog
	groups    []*group
	committer *committer
	inbox     *inbox
	terms     TermSource  // nil if the transport has none
	asking    *termRounds // the same, of peers in other processes
	metrics   *metrics

	loop    loopState
	pins    pins
	fetches sync.WaitGroup // snapshots that come in; the loop starts them

	stopping chan struct{} // closed first: nothing new begins
	failed   chan struct{} // closed by fail
	done     chan struct{} // closed when all is released
	stopped  atomic.Bool
	stopOnce sync.Once
	failOnce sync.Once
	err      error // set before failed is closed
	closeErr error // set before done is closed
}

// Open starts the replica whose log is in cfg.Dir. It fails with ErrDamaged if log and state do not hold
// everything that this replica may have acknowledged.
func Open(cfg Config) (*Host, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	log, doubtful, err := openLog(logConfig{
		dir: cfg.Dir, host: cfg.ID, groups: cfg.Groups, segmentBytes: cfg.SegmentBytes, limitBytes: cfg.LogBytes,
		logger: cfg.Logger, disk: cfg.disk,
	})
	if err != nil {
		return nil, fmt.Errorf("open raft log: %w", err)
	}
	h := &Host{
		cfg: cfg, log: log, inbox: newInbox(),
		stopping: make(chan struct{}), failed: make(chan struct{}), done: make(chan struct{}),
	}
	h.terms, _ = cfg.Transport.(TermSource)
	h.asking = newTermRounds(cfg.Transport)
	h.committer = newCommitter(h)
	if err := guard(func() error { return h.start(doubtful) }); err != nil {
		log.close(false)
		return nil, err
	}
	return h, nil
}

// start brings log and state together, enters the transport and starts the goroutines.
func (h *Host) start(doubtful bool) error {
	for i := range h.cfg.Groups {
		h.groups = append(h.groups, newGroup(h, h.log.groups[i]))
	}
	if err := h.recover(doubtful); err != nil {
		return err
	}
	for _, g := range h.groups {
		g.newNode()
	}
	h.loop.init(h)
	m, err := newMetrics(h)
	if err != nil {
		return err
	}
	h.metrics = m
	if err := h.cfg.Transport.Register(h.cfg.ID, h); err != nil {
		h.metrics.close()
		return fmt.Errorf("register raft host: %w", err)
	}
	go h.supervise()
	return nil
}

// supervise runs the goroutines of the host and releases everything when they end.
func (h *Host) supervise() {
	var loop, commit sync.WaitGroup
	loop.Go(func() { h.guarded(h.run) })
	commit.Go(func() { h.guarded(h.committer.run) })
	loop.Wait()
	h.stop() // it ended by itself only after a failure
	h.cfg.Transport.Unregister(h.cfg.ID)
	h.fetches.Wait()
	h.committer.stop()
	commit.Wait()
	h.pins.wait()
	h.closeErr = h.log.close(h.Err() == nil)
	h.metrics.close()
	close(h.done)
}

// guarded runs f and fails the host if it returns an error or panics.
func (h *Host) guarded(f func() error) {
	if err := guard(f); err != nil {
		h.fail(err)
	}
}

// guard turns a panic of f into an error.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}

// fail ends the host because of err.
func (h *Host) fail(err error) {
	h.failOnce.Do(func() {
		h.err = err
		close(h.failed)
		h.cfg.Logger.Error("raft host failed", slog.Uint64("replica", h.cfg.ID), slog.Any("error", err))
	})
	h.stop()
}

func (h *Host) stop() {
	h.stopOnce.Do(func() {
		h.stopped.Store(true)
		h.inbox.close()
		close(h.stopping)
	})
}

// Failed is closed when the host has failed. It then closes itself; Close waits for that.
func (h *Host) Failed() <-chan struct{} { return h.failed }

// Err returns why the host failed, or nil.
func (h *Host) Err() error {
	select {
	case <-h.failed:
		return h.err
	default:
		return nil
	}
}

// Close stops the host, makes the state durable and marks the log as whole.
func (h *Host) Close() error {
	h.stop()
	<-h.done
	if errors.Is(h.closeErr, ErrVanished) {
		return nil
	}
	return h.closeErr
}

// ID returns the id of this replica.
func (h *Host) ID() uint64 { return h.cfg.ID }

// group returns the group with that number.
func (h *Host) group(id uint32) (*group, error) {
	if int64(id) >= int64(len(h.groups)) {
		return nil, fmt.Errorf("no raft group %d", id)
	}
	return h.groups[id], nil
}

// call runs f in the loop and waits for it.
func (h *Host) call(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	err := h.inbox.put(func(w *work) error {
		w.calls = append(w.calls, func() { done <- f() })
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-h.stopping:
		return ErrStopped
	}
}

// Receive implements Receiver.
func (h *Host) Receive(batch []Envelope) error {
	return h.inbox.put(func(w *work) error {
		if len(w.messages)+len(batch) > maxInboxMessages {
			return ErrUnreachable
		}
		w.messages = append(w.messages, batch...)
		return nil
	})
}

// Groups implements Receiver.
func (h *Host) Groups() int { return len(h.groups) }

// Term implements Receiver.
func (h *Host) Term(group uint32) uint64 { return h.groups[group].term.Load() }
