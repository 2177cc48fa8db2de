package raftnet

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"kintsugi/internal/pace"
	"kintsugi/internal/rpc"
	"kintsugi/meta/raftgroup"
)

// peer is what is to be sent to one other host.
type peer struct {
	t        *Transport
	from, to uint64
	host     raftgroup.Receiver // the one that sends
	wake     chan struct{}      // holds a token while queue is not empty

	// Guarded by t.mu.
	queue []raftgroup.Envelope
	bytes int
	down  bool // the last attempt to connect failed: what is sent meanwhile is lost

	// Used by run only.
	batch      []raftgroup.Envelope
	head, body []byte
}

// enqueue takes messages over. The caller holds t.mu.
func (p *peer) enqueue(batch []raftgroup.Envelope) error {
	size := 0
	for _, e := range batch {
		size += sizeOf(e)
	}
	if p.down || len(p.queue)+len(batch) > maxQueueMessages || p.bytes+size > maxQueueBytes {
		return raftgroup.ErrUnreachable
	}
	p.queue = append(p.queue, batch...)
	p.bytes += size
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

// sizeOf returns about what a message takes.
func sizeOf(e raftgroup.Envelope) int {
	n := messageOverhead
	for _, entry := range e.Message.GetEntries() {
		n += len(entry.GetData()) + messageOverhead
	}
	return n
}

// take moves what is queued to p.batch.
func (p *peer) take() {
	clear(p.batch)
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	p.batch, p.queue = p.queue, p.batch[:0]
	p.bytes = 0
}

// setDown tells senders whether the peer can be reached. While it cannot nothing is queued.
func (p *peer) setDown(down bool) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	p.down = down
	if down {
		clear(p.queue)
		p.queue, p.bytes = p.queue[:0], 0
	}
}

// forget ends the peer unless something was queued.
func (p *peer) forget() bool {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	if len(p.queue) > 0 {
		return false
	}
	if p.t.peers[p.to] == p {
		delete(p.t.peers, p.to)
	}
	return true
}

// run keeps a connection to the peer and sends what is queued, until ctx ends or the peer is not spoken to any more.
func (p *peer) run(ctx context.Context) {
	broke := false // the last connection did, and the peer may be gone
	backoff := minBackoff
	for ctx.Err() == nil {
		stream, err := p.connect(ctx)
		if err == nil {
			backoff = minBackoff
			p.setDown(false)
			idle := p.pump(ctx, stream)
			stream.Close()
			if idle {
				return
			}
			broke = true
			continue
		}
		p.setDown(true)
		if broke && isRefused(err) {
			broke = false
			p.t.log.Info("a metadata replica's process is gone", slog.Uint64("replica", p.to))
			p.t.metrics.gone.Inc()
			p.host.PeerGone(p.to)
		}
		_ = pace.Pause(ctx, backoff)
		if backoff = min(2*backoff, maxBackoff); backoff == maxBackoff && p.unwanted() {
			return
		}
	}
}

// unwanted forgets a peer that cannot be reached and is not to be found any more.
func (p *peer) unwanted() bool {
	_, ok := p.t.cfg.Resolve(p.to)
	return !ok && p.forget()
}

// isRefused tells whether nobody listens at an address of a machine that does answer.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func (p *peer) connect(ctx context.Context) (*rpc.Stream, error) {
	addr, ok := p.t.cfg.Resolve(p.to)
	if !ok {
		return nil, raftgroup.ErrUnreachable
	}
	stream, err := p.t.cfg.Client.Stream(ctx, addr, MethodMessages)
	if err != nil {
		p.t.log.Debug("no connection to a metadata replica", slog.Uint64("replica", p.to), slog.Any("error", err))
		return nil, err
	}
	p.t.metrics.connects.Inc()
	return stream, nil
}

// pump sends what is queued until the stream ends. It returns true if the peer was forgotten.
func (p *peer) pump(ctx context.Context, stream *rpc.Stream) (idle bool) {
	timer := time.NewTimer(idleAfter)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			p.leave(stream)
			return true
		case <-stream.Done():
			return false
		case <-timer.C:
			if p.forget() {
				return true
			}
		case <-p.wake:
		}
		p.take()
		if err := p.send(ctx, stream); err != nil {
			p.t.log.Debug("connection to a metadata replica ended", slog.Uint64("replica", p.to), slog.Any("error", err))
			return false
		}
		timer.Reset(idleAfter)
	}
}

// send writes the batch in frames.
func (p *peer) send(ctx context.Context, stream *rpc.Stream) error {
	for batch := p.batch; len(batch) > 0; {
		n := 0
		var err error
		for p.body = p.body[:0]; n < len(batch) && len(p.body) < frameBytes; n++ {
			if p.body, err = appendMessage(p.body, batch[n]); err != nil {
				return err
			}
		}
		if err := p.write(ctx, stream, frameHead{from: p.from, to: p.to, messages: uint32(n)}, sendTimeout); err != nil {
			return err
		}
		p.t.metrics.messages.Add(float64(n))
		batch = batch[n:]
	}
	if cap(p.body) > 2*frameBytes {
		p.body = nil
	}
	return nil
}

func (p *peer) write(ctx context.Context, stream *rpc.Stream, h frameHead, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p.head = h.appendTo(p.head[:0])
	if err := stream.Send(ctx, p.head, p.body); err != nil {
		return err
	}
	p.t.metrics.frames.Inc()
	p.t.metrics.bytes.Add(float64(len(p.head) + len(p.body)))
	return nil
}

// leave says that the host is no more.
func (p *peer) leave(stream *rpc.Stream) {
	p.body = p.body[:0]
	err := p.write(context.Background(), stream, frameHead{left: true, from: p.from, to: p.to}, leaveWait)
	if err != nil {
		p.t.log.Debug("a metadata replica was not told that this one left", slog.Uint64("replica", p.to), slog.Any("error", err))
	}
}
