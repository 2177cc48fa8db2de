package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"kintsugi/internal/pace"
)

const (
	// maxStrangers connections may be shaking hands at a time; more are closed at once.
	maxStrangers = 1024
	// acceptPause is how long the server waits when the process has no descriptor left for a connection.
	acceptPause = 50 * time.Millisecond
)

// Handler serves one call. ctx ends with the caller's deadline or the server. It returns nil after Reply or
// where an empty answer will do, a *StatusError for the caller to see, or any other error, which is logged and sent as an internal one.
// A panic is caught and answered so, too. An error for a one-way call ends its stream.
type Handler func(ctx context.Context, r *Request) error

// method is what Handle was given.
type method struct {
	allowed Role
	handler Handler
	metrics *methodMetrics
}

// Server answers calls.
type Server struct {
	cfg     Config
	prover  *prover
	metrics *serverMetrics
	methods map[Method]*method // not changed once Serve runs

	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	strangers chan struct{} // one token per connection that is shaking hands
	running   sync.WaitGroup

	mu        sync.Mutex
	closed    bool                      // guarded by mu
	listeners map[net.Listener]struct{} // guarded by mu
	conns     map[net.Conn]struct{}     // guarded by mu
}

// NewServer returns a Server without methods.
func NewServer(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	prover, err := newProver(cfg)
	if err != nil {
		return nil, err
	}
	metrics, err := newServerMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{
		cfg: cfg, prover: prover, metrics: metrics, methods: make(map[Method]*method),
		ctx: ctx, cancel: cancel, strangers: make(chan struct{}, maxStrangers),
		listeners: make(map[net.Listener]struct{}), conns: make(map[net.Conn]struct{}),
	}, nil
}

// Handle adds a method that callers with one of the roles may use. Before Serve.
func (s *Server) Handle(m Method, allowed Role, h Handler) {
	if s.methods[m] != nil {
		panic(fmt.Sprintf("rpc: method %d is handled twice", m))
	}
	s.methods[m] = &method{allowed: allowed, handler: h, metrics: s.metrics.method(m)}
}

// Serve accepts connections until Close, and returns nil then. It may be called for several listeners. A stranger learns
// nothing: the connection is closed.
func (s *Server) Serve(l net.Listener) error {
	if !s.open(l) {
		l.Close()
		return ErrClosed
	}
	for {
		raw, err := l.Accept()
		switch {
		case s.ctx.Err() != nil:
			if err == nil {
				raw.Close()
			}
			return nil
		case err == nil:
			s.admit(raw)
		case passes(err):
			s.cfg.Logger.Warn("cannot accept connections", slog.Any("error", err))
			_ = pace.Pause(s.ctx, acceptPause)
		default:
			return err
		}
	}
}

// passes tells whether an error of Accept is about one connection or goes away when others are closed.
func passes(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ECONNABORTED)
}

func (s *Server) open(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.listeners[l] = struct{}{}
	}
	return !s.closed
}

// admit starts the goroutine of a connection, unless too many have not said who they are.
func (s *Server) admit(raw net.Conn) {
	select {
	case s.strangers <- struct{}{}:
	default:
		s.metrics.refused.Inc()
		raw.Close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		<-s.strangers
		raw.Close()
		return
	}
	s.conns[raw] = struct{}{}
	s.metrics.connections(1)
	s.running.Go(func() {
		defer s.remove(raw)
		s.serveConn(raw)
	})
}

func (s *Server) remove(raw net.Conn) {
	raw.Close()
	s.metrics.connections(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, raw)
}

// serveConn shakes hands and serves calls until the connection ends.
func (s *Server) serveConn(raw net.Conn) {
	c, err := s.shake(raw)
	if err != nil {
		s.metrics.refused.Inc()
		s.cfg.Logger.Debug("connection refused", slog.String("remote", raw.RemoteAddr().String()), slog.Any("error", err))
		return
	}
	s.calls(c)
}

// calls serves one call after the other.
func (s *Server) calls(c *conn) {
	r := &Request{conn: c, From: c.peer}
	var head []byte
	for {
		h, got, err := c.read(head)
		if err != nil {
			if s.ctx.Err() == nil && errors.Is(err, ErrFormat) {
				s.cfg.Logger.Warn("connection closed", slog.String("node", c.peer.Node), slog.Any("error", err))
			}
			return
		}
		if cap(got) <= keepHead {
			head = got
		}
		r.reset(h, got)
		if !s.answer(r, h) {
			return
		}
	}
}

// shake bounds the handshake in time.
func (s *Server) shake(raw net.Conn) (*conn, error) {
	defer func() { <-s.strangers }()
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.DialTimeout)
	defer cancel()
	return s.prover.accept(ctx, raw)
}

// answer serves one call and tells whether the connection is still good.
func (s *Server) answer(r *Request, h header) bool {
	if h.kind != kindCall && h.kind != kindOneWay {
		s.cfg.Logger.Warn("connection closed: no call", slog.String("node", r.From.Node), slog.Int("kind", int(h.kind)))
		return false
	}
	m := s.methods[h.method]
	var err error
	switch {
	case m == nil:
		m = s.metrics.unknown
		err = &StatusError{Code: CodeMethod}
	case m.allowed&r.From.Roles == 0:
		err = &StatusError{Code: codeRefused}
	default:
		err = s.handle(m, r, h)
	}
	good := r.finish(s.status(r, err))
	m.metrics.count(err)
	s.metrics.received(h)
	s.metrics.sent(r.written)
	return good
}

// handle calls the handler with a context of its own.
func (s *Server) handle(m *method, r *Request, h header) (err error) {
	ctx := newCallContext(s.ctx, h.waitMS)
	defer ctx.end()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
			s.metrics.panics.Inc()
			s.cfg.Logger.Error("handler panicked", slog.Int("method", int(r.Method)), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		}
	}()
	r.deadline = ctx.deadline
	return m.handler(ctx, r)
}

var errPanic = errors.New("handler panicked")

// status turns the error of a handler into what the caller sees.
func (s *Server) status(r *Request, err error) *StatusError {
	status, ok := errors.AsType[*StatusError](err)
	switch {
	case err == nil:
		return nil
	case ok:
		return status
	case errors.Is(err, context.DeadlineExceeded):
		return &StatusError{Code: codeDeadline}
	case s.ctx.Err() != nil:
		r.conn.failed = true // as if the process had ended in the middle of the call, for all the caller knows
	case r.conn.failed, errors.Is(err, errPanic):
		// The caller is gone, or it is logged already.
	default:
		s.cfg.Logger.Warn("call failed", slog.Int("method", int(r.Method)), slog.String("node", r.From.Node), slog.Any("error", err))
	}
	return &StatusError{Code: CodeInternal, Detail: []byte(err.Error())}
}

// Close stops accepting, closes connections and waits for handlers, whose contexts end.
func (s *Server) Close() error {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
	for raw := range s.conns {
		raw.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}
