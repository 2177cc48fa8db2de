package gateway

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// progressBytes must pass within listener.transfer, in either direction: a slow
	// client is served, one that sends or takes a byte now and then is not.
	progressBytes = 64 << 10

	// lingerBytes and lingerTime bound what is read of a refused body after the answer was
	// sent. Closing a socket that holds unread bytes resets it, and the client would lose the answer.
	lingerBytes = 64 << 20
	lingerTime  = 2 * time.Second
)

// listener wraps what it accepts in conn and knows what is open.
type listener struct {
	net.Listener
	transfer time.Duration
	close    func() error // of Listener, once

	mu   sync.Mutex
	open map[*conn]struct{}
}

func newListener(l net.Listener, transfer time.Duration) *listener {
	return &listener{Listener: l, transfer: transfer, close: sync.OnceValue(l.Close), open: make(map[*conn]struct{})}
}

// Close may be called again: it then says the same.
func (l *listener) Close() error { return l.close() }

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.accept()
	if err != nil {
		return nil, err
	}
	_, secure := c.(*tls.Conn)
	wrapped := &conn{Conn: c, listener: l, secure: secure}
	l.mu.Lock()
	l.open[wrapped] = struct{}{}
	l.mu.Unlock()
	return wrapped, nil
}

// accept goes on where the system is short of something: the server would give up.
func (l *listener) accept() (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		c, err := l.Listener.Accept()
		if err == nil || !isShortage(err) {
			return c, err
		}
		time.Sleep(pause)
	}
}

func isShortage(err error) bool {
	for _, errno := range [...]syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// closeConns cuts every connection that is still open.
func (l *listener) closeConns() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.Conn.Close()
	}
}

// closeUnused cuts the connections that clients opened in advance and have not used so far.
func (l *listener) closeUnused() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		if !c.used.Load() {
			c.Conn.Close()
		}
	}
}

// conn is a client's connection. The server sets read deadlines for header and
// idle time; conn bounds what those leave open: bodies and answers.
type conn struct {
	net.Conn
	listener *listener
	secure   bool        // TLS
	ended    bool        // a read failed or met the end; only the serving goroutine looks
	broken   bool        // a write failed; only the serving goroutine looks
	expected *request    // begun before 100 Continue, to be handled
	linger   atomic.Bool // the answer goes out before the request was read
	used     atomic.Bool // the client has sent something
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.used.Load() {
		c.used.Store(true)
	}
	if err != nil {
		c.ended = true
	}
	return n, err
}

// Write writes all of p as long as the client takes progressBytes in time.
func (c *conn) Write(p []byte) (int, error) {
	written := 0
	for {
		if err := c.SetWriteDeadline(time.Now().Add(c.listener.transfer)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written:])
		written += n
		if err == nil {
			return written, nil
		}
		if n < progressBytes || !errors.Is(err, os.ErrDeadlineExceeded) {
			c.broken = true
			return written, err
		}
	}
}

// Close closes the connection, after a moment if the client may still be sending.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.open, c)
	c.listener.mu.Unlock()
	if r := c.expected; r != nil { // it was to be continued, and is not
		c.expected = nil
		r.server.finish(r)
	}
	if c.linger.CompareAndSwap(true, false) {
		c.awaitPeer()
	}
	return c.Conn.Close()
}

// follow is told of a connection's states. One that is idle was read up to the end of its last request.
func follow(c net.Conn, state fasthttp.ConnState) {
	if own, ok := c.(*conn); ok && state == fasthttp.StateIdle {
		own.linger.Store(false)
	}
}

// awaitPeer ends our side and reads what the peer sends until it ends its own.
func (c *conn) awaitPeer() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	buf := make([]byte, 32<<10)
	for n := 0; n < lingerBytes; {
		m, err := c.Conn.Read(buf)
		if err != nil {
			return
		}
		n += m
	}
}
