package simnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair connects a with b over a network whose links are like l.
func pair(t *testing.T, l Link) (n *Network, a, b net.Conn) {
	t.Helper()
	n = New(1)
	n.SetLinks(l)
	ln := listen(t, n, "b:1")
	a = dial(t, n, "a", "b:1")
	b, err := ln.Accept()
	must(t, err)
	t.Cleanup(func() { a.Close(); b.Close(); ln.Close() })
	return n, a, b
}

func listen(t *testing.T, n *Network, addr string) net.Listener {
	t.Helper()
	name, _, _ := net.SplitHostPort(addr)
	ln, err := n.Host(name).Listen(addr)
	must(t, err)
	return ln
}

func dial(t *testing.T, n *Network, from, addr string) net.Conn {
	t.Helper()
	c, err := n.Host(from).Dial(t.Context(), addr)
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); err != nil || n != len(s) {
		t.Fatalf("write %q: %d, %v", s, n, err)
	}
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v, want %q", b, err, want)
	}
}

var slow = Link{Latency: 3 * time.Millisecond, Jitter: time.Millisecond, BytesPerSecond: 10 << 20, Loss: 0.01}

// TestConn runs what every net.Conn does, on a fast and on a slow network, in virtual time and in the real one.
func TestConn(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, a, b net.Conn)
	}{
		{"both ways at once", bothWays},
		{"ping and pong", pingPong},
		{"deadline of a read", readDeadline},
		{"deadline in the past", pastDeadline},
		{"deadline of a write", writeDeadline},
		{"deadline that is set while a read waits", lateDeadline},
		{"close wakes who waits", closeWakes},
		{"what was written before close arrives", lastWords},
		{"unread bytes make close a reset", unread},
		{"write to nobody", toNobody},
		{"empty reads and writes", empty},
		{"addresses", addresses},
		{"used by many", manyUsers},
	}
	for _, tt := range tests {
		for name, l := range map[string]Link{"fast": {}, "slow": slow} {
			t.Run(tt.name+"/"+name+"/virtual", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { _, a, b := pair(t, l); tt.run(t, a, b) })
			})
		}
		t.Run(tt.name+"/fast/real", func(t *testing.T) { _, a, b := pair(t, Link{}); tt.run(t, a, b) })
	}
}

func bothWays(t *testing.T, a, b net.Conn) {
	body := make([]byte, 3*bufferBytes+17)
	rand.NewChaCha8([32]byte{}).Read(body)
	var all sync.WaitGroup
	for _, c := range []net.Conn{a, b} {
		all.Go(func() {
			if n, err := c.Write(body); n != len(body) || err != nil {
				t.Errorf("write: %d, %v", n, err)
			}
		})
		all.Go(func() {
			got := make([]byte, len(body))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, body) {
				t.Errorf("read: %v, same %v", err, bytes.Equal(got, body))
			}
		})
	}
	all.Wait()
}

func pingPong(t *testing.T, a, b net.Conn) {
	for range 20 {
		write(t, a, "ping")
		read(t, b, "ping")
		write(t, b, "pong")
		read(t, a, "pong")
	}
}

func readDeadline(t *testing.T, a, b net.Conn) {
	start := time.Now()
	must(t, a.SetReadDeadline(start.Add(20*time.Millisecond)))
	_, err := a.Read(make([]byte, 1))
	want(t, "read", err, os.ErrDeadlineExceeded)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
	if d := time.Since(start); d < 20*time.Millisecond {
		t.Errorf("after %v", d)
	}
	must(t, a.SetDeadline(time.Time{}))
	write(t, b, "x")
	read(t, a, "x")
}

func pastDeadline(t *testing.T, a, b net.Conn) {
	write(t, b, "x")
	must(t, a.SetDeadline(time.Now().Add(-time.Second)))
	_, err := a.Read(make([]byte, 1))
	want(t, "read", err, os.ErrDeadlineExceeded)
	_, err = a.Write([]byte("y"))
	want(t, "write", err, os.ErrDeadlineExceeded)
	must(t, a.SetDeadline(time.Time{}))
	read(t, a, "x")
}

func writeDeadline(t *testing.T, a, b net.Conn) {
	must(t, a.SetWriteDeadline(time.Now().Add(20*time.Millisecond)))
	n, err := a.Write(make([]byte, 2*bufferBytes))
	want(t, "write", err, os.ErrDeadlineExceeded)
	if n != bufferBytes {
		t.Errorf("%d bytes had room, want %d", n, bufferBytes)
	}
	if _, err := io.ReadFull(b, make([]byte, n)); err != nil {
		t.Error(err)
	}
}

func lateDeadline(t *testing.T, a, _ net.Conn) {
	time.AfterFunc(10*time.Millisecond, func() { a.SetReadDeadline(time.Now()) })
	_, err := a.Read(make([]byte, 1))
	want(t, "read", err, os.ErrDeadlineExceeded)
}

func closeWakes(t *testing.T, a, b net.Conn) {
	time.AfterFunc(10*time.Millisecond, func() { a.Close() })
	var all sync.WaitGroup
	all.Go(func() {
		_, err := a.Read(make([]byte, 1))
		want(t, "read", err, net.ErrClosed)
	})
	_, err := a.Write(make([]byte, 2*bufferBytes))
	want(t, "write", err, net.ErrClosed)
	all.Wait()
	want(t, "close again", a.Close(), net.ErrClosed)
	want(t, "deadline", a.SetDeadline(time.Time{}), net.ErrClosed)
	_, err = io.Copy(io.Discard, b)
	must(t, err)
}

func lastWords(t *testing.T, a, b net.Conn) {
	write(t, a, "last words")
	must(t, a.Close())
	read(t, b, "last words")
	_, err := b.Read(make([]byte, 1))
	want(t, "read", err, io.EOF)
}

func unread(t *testing.T, a, b net.Conn) {
	write(t, a, "hello")
	read(t, b, "h")
	must(t, b.Close())
	_, err := a.Read(make([]byte, 1))
	want(t, "read", err, syscall.ECONNRESET)
}

func toNobody(t *testing.T, a, b net.Conn) {
	must(t, b.Close())
	_, err := a.Read(make([]byte, 1))
	want(t, "read", err, io.EOF)
	write(t, a, "the first one is lost")
	_, err = a.Read(make([]byte, 1))
	want(t, "read", err, syscall.ECONNRESET)
	_, err = a.Write([]byte("x"))
	want(t, "write", err, syscall.ECONNRESET)
}

func empty(t *testing.T, a, b net.Conn) {
	write(t, a, "")
	if n, err := b.Read(nil); n != 0 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
}

func addresses(t *testing.T, a, b net.Conn) {
	if a.RemoteAddr().String() != "b:1" || b.LocalAddr().String() != "b:1" || a.LocalAddr() != b.RemoteAddr() {
		t.Errorf("%v -> %v, %v -> %v", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
	}
}

func manyUsers(t *testing.T, a, b net.Conn) {
	const size, users = 1000, 8
	var all sync.WaitGroup
	for u := range byte(users) {
		all.Go(func() { a.Write(bytes.Repeat([]byte{u}, size)) })
	}
	for range users {
		got := make([]byte, size)
		_, err := io.ReadFull(b, got)
		must(t, err)
		if !bytes.Equal(got, bytes.Repeat(got[:1], size)) {
			t.Error("writes mixed")
		}
	}
	all.Wait()
}

func TestListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		ln := listen(t, n, "b:0")
		if ln.Addr().String() == "b:0" {
			t.Error("no port was chosen")
		}
		_, err := n.Host("b").Listen(ln.Addr().String())
		want(t, "listen twice", err, syscall.EADDRINUSE)
		_, err = n.Host("a").Listen("b:2")
		want(t, "listen for another", err, syscall.EADDRNOTAVAIL)
		_, err = n.Host("a").Dial(t.Context(), "b:2")
		want(t, "dial a port that is not open", err, syscall.ECONNREFUSED)
		_, err = n.Host("a").Dial(t.Context(), "nobody:1")
		want(t, "dial nobody", err, syscall.ECONNREFUSED)
		c := dial(t, n, "a", ln.Addr().String())
		time.AfterFunc(time.Second, func() { ln.Close() })
		s, err := ln.Accept()
		must(t, err)
		_, err = ln.Accept()
		want(t, "accept", err, net.ErrClosed)
		write(t, s, "still here")
		read(t, c, "still here")
	})
}

// TestIPAddresses names hosts by IP addresses.
func TestIPAddresses(t *testing.T) {
	n := New(1)
	ln := listen(t, n, "127.0.0.2:1")
	c := dial(t, n, "127.0.0.3", "127.0.0.2:1")
	for _, a := range []net.Addr{ln.Addr(), c.RemoteAddr(), c.LocalAddr()} {
		if tcp, ok := a.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
			t.Errorf("%v is a %T", a, a)
		}
	}
}

func TestDialEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		listen(t, n, "b:1")
		n.Cut("b", "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := n.Host("a").Dial(ctx, "b:1")
		want(t, "dial", err, context.DeadlineExceeded)
		start := time.Now()
		_, err = n.Host("a").Dial(t.Context(), "b:1")
		want(t, "dial", err, syscall.ETIMEDOUT)
		if d := time.Since(start); d != connectTimeout {
			t.Errorf("after %v", d)
		}
	})
}
