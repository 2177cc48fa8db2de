package gateway

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"
)

// drainTime bounds the wait for the rest of a small body that nobody wanted, before
// the connection's next request.
const drainTime = 5 * time.Second

// handle answers one request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	defer s.survive(ctx)
	c, ok := ctx.Conn().(*conn)
	if !ok {
		ctx.SetStatusCode(fasthttp.StatusInternalServerError)
		return
	}
	r := c.expected
	c.expected = nil
	var err error
	if r == nil {
		r, err = s.begin(ctx)
	}
	r.raw.source = ctx.RequestBodyStream()
	if err == nil {
		err = r.serve()
	}
	if err != nil {
		r.fail(err)
	}
	r.leaveBody()
	if !r.streaming {
		s.finish(r)
	}
}

// survive keeps a panic outside of a handler from ending the process, which fasthttp would let it do.
func (s *Server) survive(ctx *fasthttp.RequestCtx) {
	if v := recover(); v != nil {
		s.config.Logger.Error("connection panicked", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		ctx.Response.Reset()
		ctx.SetStatusCode(fasthttp.StatusInternalServerError)
		ctx.SetConnectionClose()
	}
}

// serve runs the handler; a panic is an internal error of this request alone.
func (r *request) serve() (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.server.config.Logger.Error("handler panicked", slog.String("request", r.id),
				slog.String("operation", r.route.name), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			r.ctx.Response.ResetBody()
			err = errInternal
		}
	}()
	return r.route.handle(r)
}

// expect decides, before the client sends its body, whether it is wanted. fasthttp answers 100 if so.
func (s *Server) expect(ctx *fasthttp.RequestCtx) (status int) {
	status = fasthttp.StatusInternalServerError // if it comes to a panic
	defer s.survive(ctx)
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return fasthttp.StatusInternalServerError
	}
	r, err := s.begin(ctx)
	if err == nil {
		c.expected = r
		return fasthttp.StatusContinue
	}
	r.fail(err)
	c.linger.Store(true)
	status = r.status
	s.finish(r)
	return status
}

// begin does all that comes before the body: it parses, authenticates, routes, authorises and
// checks what the header alone tells. The request is returned with an error, too.
func (s *Server) begin(ctx *fasthttp.RequestCtx) (r *request, err error) {
	r = s.requests.Get().(*request)
	r.begin(s, ctx)
	defer func() {
		if v := recover(); v != nil {
			s.config.Logger.Error("request panicked", slog.String("request", r.id),
				slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			err = errInternal
		}
	}()
	if s.inFlight.Add(1) > int64(s.config.MaxInFlight) {
		s.inFlight.Add(-1)
		return r, errSlowDown
	}
	r.admitted = true
	for _, step := range beginSteps {
		if err := step(r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// beginSteps are in the order that keeps a stranger from learning or costing anything.
var beginSteps = [...]func(*request) error{
	(*request).parse,
	(*request).authenticate,
	(*request).findRoute,
	(*request).authorise,
	(*request).checkOwner,
	(*request).checkBody,
}

// checkBody opens the body of operations that have one and runs the operation's own check.
func (r *request) checkBody() error {
	if r.route.body {
		if err := r.openBody(); err != nil {
			return err
		}
	}
	if r.route.check != nil {
		return r.route.check(r)
	}
	return nil
}

// leaveBody prepares the connection for what the handler left unread of the body: fasthttp reads on
// if it is little and closes otherwise.
func (r *request) leaveBody() {
	if r.raw.source == nil || r.raw.atEnd {
		return
	}
	r.conn.linger.Store(true)
	_ = r.conn.SetReadDeadline(time.Now().Add(drainTime)) // fails on closed connections only
}

// refuse answers what could not be read as a request.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, err error) {
	defer s.survive(ctx)
	if c, ok := ctx.Conn().(*conn); ok && !c.used.Load() {
		c.Conn.Close() // without an answer: the client would take it for that of its first request
		return
	}
	r := s.requests.Get().(*request)
	r.begin(s, ctx)
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &small):
		err = errRequestHeaderTooLarge
	case errors.As(err, &network) && network.Timeout():
		err = errRequestTimeout
	case err == io.ErrUnexpectedEOF: // as it is, of a body that fasthttp reads ahead; wrapped, of the header
		err = errIncompleteBody
	default:
		err = errBadRequest
	}
	r.fail(err)
	if r.conn != nil {
		r.conn.linger.Store(true)
	}
	s.finish(r)
}

// finish counts the request and gives back what it held.
func (s *Server) finish(r *request) {
	s.metrics.observe(r)
	if r.admitted {
		s.inFlight.Add(-1)
	}
	r.release()
	s.requests.Put(r)
}
