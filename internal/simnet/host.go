package simnet

import (
	"context"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Host is a process with an address of its own.
type Host struct {
	net  *Network
	name string

	// The network's mutex guards what follows.
	dead      bool
	silent    bool // it died without a word
	frozen    bool
	listeners map[Addr]*listener
	changed   event
}

// Name returns the name of the host.
func (h *Host) Name() string { return h.name }

// Gate waits while the host is frozen. What a process does without the network, such as writing to a disk, passes it
// to be stopped, too. It fails when the process is dead.
func (h *Host) Gate(ctx context.Context) error {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for h.frozen && ctx.Err() == nil {
		h.net.await(&h.changed, time.Time{}, ctx.Done())
	}
	if h.dead {
		return h.failed("gate", Addr(h.name), net.ErrClosed)
	}
	return ctx.Err()
}

// Listen takes connections to addr, NAME:PORT. Without a name the host's is taken, with port 0 a free one. Where names
// are IP addresses, those of listeners and connections are a *net.TCPAddr, so loopback is known for what it is.
func (h *Host) Listen(addr string) (net.Listener, error) {
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, h.failed("listen", Addr(addr), err)
	}
	if name != "" && name != h.name {
		return nil, h.failed("listen", Addr(addr), syscall.EADDRNOTAVAIL)
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if port == "0" {
		port = h.net.freePort()
	}
	l := &listener{host: h, addr: Addr(net.JoinHostPort(h.name, port))}
	if h.dead {
		return nil, h.failed("listen", l.addr, net.ErrClosed)
	}
	if h.listeners[l.addr] != nil {
		return nil, h.failed("listen", l.addr, syscall.EADDRINUSE)
	}
	h.listeners[l.addr] = l
	return l, nil
}

func (n *Network) freePort() string {
	n.port++
	return strconv.Itoa(n.port)
}

// connectTimeout is how long Dial tries when ctx does not end before.
const connectTimeout = 2 * time.Minute

// Dial connects to addr. Where nobody listens it is refused; where a link is cut, or the other end without power, it
// tries until ctx ends.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, h.failed("dial", Addr(addr), err)
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	there, back := h.net.link(h.name, name), h.net.link(name, h.name)
	start := time.Now()
	for again := time.Second; ; again *= 2 {
		until := there.arrival(back.arrival(time.Now(), 0), 0)
		lost := there.cut || back.cut || h.net.unreachable(name)
		if lost {
			until = start.Add(min(again, connectTimeout))
		}
		err := h.travel(ctx, until)
		if err == nil && lost && time.Since(start) >= connectTimeout {
			err = os.NewSyscallError("connect", syscall.ETIMEDOUT)
		}
		if err != nil {
			return nil, h.failed("dial", Addr(addr), err)
		}
		if !lost && !there.cut && !back.cut {
			return h.connect(Addr(addr))
		}
	}
}

// unreachable tells whether nobody would answer: neither a process nor the system under it.
func (n *Network) unreachable(name string) bool {
	h := n.hosts[name]
	return h != nil && h.dead && h.silent
}

// travel waits until a time.
func (h *Host) travel(ctx context.Context, until time.Time) error {
	for {
		switch {
		case h.dead:
			return net.ErrClosed
		case h.frozen:
			h.net.await(&h.changed, time.Time{}, nil)
		case ctx.Err() != nil:
			return ctx.Err()
		case !time.Now().Before(until):
			return nil
		default:
			h.net.await(&h.changed, until, ctx.Done())
		}
	}
}

// connect makes a connection with whoever listens at addr.
func (h *Host) connect(addr Addr) (net.Conn, error) {
	name, _, _ := net.SplitHostPort(string(addr))
	peer := h.net.hosts[name]
	if peer == nil || peer.dead || peer.listeners[addr] == nil || len(peer.listeners[addr].backlog) >= backlog {
		return nil, h.failed("dial", addr, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	local := Addr(net.JoinHostPort(h.name, h.net.freePort()))
	changed := new(event)
	there := &pipe{link: h.net.link(h.name, name), changed: changed}
	back := &pipe{link: h.net.link(name, h.name), changed: changed}
	mine, theirs := h.end(local, addr, back, there), peer.end(addr, local, there, back)
	mine.peer, theirs.peer = theirs, mine
	l := peer.listeners[addr]
	l.backlog = append(l.backlog, theirs)
	l.changed.fire()
	return mine, nil
}

// end makes one end of a connection.
func (h *Host) end(local, remote Addr, in, out *pipe) *conn {
	h.net.serial++
	c := &conn{
		net: h.net, host: h, serial: h.net.serial, local: local, remote: remote, in: in, out: out,
		writing: make(chan struct{}, 1), changed: in.changed,
	}
	h.net.conns[c] = struct{}{}
	return c
}

// listening returns the listeners, in order.
func (h *Host) listening() []*listener {
	return slices.SortedFunc(maps.Values(h.listeners), func(a, b *listener) int { return strings.Compare(string(a.addr), string(b.addr)) })
}

func (h *Host) failed(op string, addr Addr, err error) error {
	return &net.OpError{Op: op, Net: addr.Network(), Addr: addr, Err: err}
}

// backlog bounds the connections that wait to be accepted.
const backlog = 1024

// listener implements net.Listener.
type listener struct {
	host *Host
	addr Addr

	// The network's mutex guards what follows.
	backlog []*conn
	closed  bool
	changed event
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	for !l.closed && (l.host.frozen || len(l.backlog) == 0) {
		l.host.net.await(&l.changed, time.Time{}, nil)
	}
	if l.closed {
		return nil, l.host.failed("accept", l.addr, net.ErrClosed)
	}
	c := l.backlog[0]
	l.backlog = l.backlog[1:]
	return c, nil
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed {
		return l.host.failed("close", l.addr, net.ErrClosed)
	}
	l.close(time.Now(), true)
	return nil
}

func (l *listener) close(now time.Time, told bool) {
	l.closed = true
	delete(l.host.listeners, l.addr)
	for _, c := range l.backlog {
		if told && !c.closed {
			c.end(now, reset)
		}
	}
	l.backlog = nil
	l.changed.fire()
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr.public() }
