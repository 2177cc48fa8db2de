package simnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// Addr is an address, NAME:PORT.
type Addr string

// Network names the kind of network. It is none that exists.
func (Addr) Network() string  { return "sim" }
func (a Addr) String() string { return string(a) }

// public is the address as programs see it: those that know TCP's find an IP address to be one.
func (a Addr) public() net.Addr {
	if ip, err := netip.ParseAddrPort(string(a)); err == nil {
		return net.TCPAddrFromAddrPort(ip)
	}
	return a
}

// conn is one end of a connection.
type conn struct {
	net           *Network
	host          *Host
	serial        int
	peer          *conn
	local, remote Addr
	in, out       *pipe
	writing       chan struct{} // holds one token while somebody writes: writes do not mix

	// The network's mutex guards what follows.
	changed       *event // shared with the peer
	closed        bool
	readDeadline  time.Time
	writeDeadline time.Time
}

// over returns the directions that use a link.
func (c *conn) over(l *link) []*pipe {
	var pipes []*pipe
	for _, p := range []*pipe{c.in, c.out} {
		if p.link == l {
			pipes = append(pipes, p)
		}
	}
	return pipes
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if late(c.readDeadline) && !c.host.frozen {
		return 0, c.failed("read", os.ErrDeadlineExceeded)
	}
	for {
		now := time.Now()
		switch {
		case c.closed:
			return 0, c.failed("read", net.ErrClosed)
		case c.host.frozen:
			c.net.await(c.changed, time.Time{}, nil)
			continue
		case len(b) == 0:
			return 0, nil
		}
		if n := c.in.take(now, b); n > 0 {
			return n, nil
		}
		switch {
		case c.in.ended(now) && c.in.ending == finished:
			return 0, io.EOF
		case c.in.broken(now):
			return 0, c.failed("read", syscall.ECONNRESET)
		case late(c.readDeadline):
			return 0, c.failed("read", os.ErrDeadlineExceeded)
		}
		c.net.await(c.changed, earliest(c.in.next(), c.readDeadline), nil)
	}
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	sent := 0
	for {
		now := time.Now()
		room := bufferBytes - c.out.size
		switch {
		case sent == len(b) && sent > 0:
			return sent, nil
		case c.closed:
			return sent, c.failed("write", net.ErrClosed)
		case c.host.frozen:
			c.net.await(c.changed, time.Time{}, nil)
			continue
		case c.in.broken(now):
			return sent, c.failed("write", syscall.ECONNRESET)
		case late(c.writeDeadline):
			return sent, c.failed("write", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case c.out.deaf && !c.net.unreachable(c.peer.host.name):
			c.bounce(now)
			sent = len(b)
		case room > 0:
			n := min(room, len(b)-sent)
			c.out.send(now, append([]byte(nil), b[sent:sent+n]...))
			sent += n
		default:
			c.net.await(c.changed, earliest(c.in.endDue(), c.writeDeadline), nil)
		}
	}
}

// bounce answers bytes that nobody will read with a reset, if they get there and the answer gets here.
func (c *conn) bounce(now time.Time) {
	if !c.out.link.cut {
		c.in.finish(c.out.link.arrival(now, 0), reset)
	}
}

// Close implements net.Conn. What was written is still delivered; what was not read makes it a reset.
func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.failed("close", net.ErrClosed)
	}
	if c.host.frozen { // the system hears of it when the process goes on
		c.closed = true
		c.changed.fire()
		return nil
	}
	c.end(time.Now(), c.farewell())
	return nil
}

// farewell returns what the system sends when this end is closed.
func (c *conn) farewell() ending {
	if len(c.in.parcels) > 0 {
		return reset
	}
	return finished
}

// end closes this end and tells the other one, unless how is open.
func (c *conn) end(now time.Time, how ending) {
	c.closed = true
	c.in.deaf = true
	c.in.parcels, c.in.size = nil, 0
	if how != open {
		c.out.finish(now, how)
	}
	c.changed.fire()
	delete(c.net.conns, c)
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local.public() }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote.public() }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.deadlines(&t, &t) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.deadlines(&t, nil) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.deadlines(nil, &t) }

func (c *conn) deadlines(read, write *time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.failed("set", net.ErrClosed)
	}
	if read != nil {
		c.readDeadline = *read
		c.changed.fire()
	}
	if write != nil {
		c.writeDeadline = *write
		c.changed.fire()
	}
	return nil
}

func (c *conn) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

func late(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }
