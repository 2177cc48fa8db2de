package simnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// virtual runs f with a connection between a and b, in virtual time.
func virtual(t *testing.T, l Link, f func(t *testing.T, n *Network, a, b net.Conn)) {
	synctest.Test(t, func(t *testing.T) { n, a, b := pair(t, l); f(t, n, a, b) })
}

// TestCut loses one direction only, tells nobody, and delivers in order after the cut.
func TestCut(t *testing.T) {
	virtual(t, Link{Latency: time.Millisecond}, func(t *testing.T, n *Network, a, b net.Conn) {
		write(t, a, "on its way,")
		n.Cut("a", "b")
		write(t, a, "into the void")
		write(t, b, "back")
		read(t, a, "back")
		b.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := b.Read(make([]byte, 1))
		want(t, "read", err, os.ErrDeadlineExceeded)
		b.SetReadDeadline(time.Time{})
		n.Mend("a", "b")
		start := time.Now()
		read(t, b, "on its way,into the void")
		if d := time.Since(start); d <= 0 || d > 10*time.Second {
			t.Errorf("%v after the cut", d)
		}
	})
}

func TestCutBeforeDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		listen(t, n, "b:1")
		n.Cut("a", "b")
		time.AfterFunc(5*time.Second, n.Heal)
		start := time.Now()
		dial(t, n, "a", "b:1")
		if d := time.Since(start); d != 8*time.Second {
			t.Errorf("connected after %v", d)
		}
	})
}

func TestReset(t *testing.T) {
	virtual(t, Link{Latency: time.Millisecond}, func(t *testing.T, n *Network, a, b net.Conn) {
		time.AfterFunc(time.Second, func() { n.Reset("a", "b") })
		for _, c := range []net.Conn{a, b} {
			_, err := c.Read(make([]byte, 1))
			want(t, "read", err, syscall.ECONNRESET)
			_, err = c.Write([]byte("x"))
			want(t, "write", err, syscall.ECONNRESET)
		}
		dial(t, n, "a", "b:1")
	})
}

// TestKill ends a process: what it had sent arrives, its peers hear of it, and until the next one listens they are refused.
func TestKill(t *testing.T) {
	virtual(t, Link{Latency: time.Millisecond}, func(t *testing.T, n *Network, a, b net.Conn) {
		h := n.Host("b")
		write(t, b, "bye")
		n.Kill("b")
		_, err := b.Write([]byte("x"))
		want(t, "write of the dead", err, net.ErrClosed)
		want(t, "gate of the dead", h.Gate(t.Context()), net.ErrClosed)
		_, err = h.Dial(t.Context(), "b:1")
		want(t, "dial of the dead", err, net.ErrClosed)
		_, err = h.Listen("b:1")
		want(t, "listen of the dead", err, net.ErrClosed)
		read(t, a, "bye")
		_, err = a.Read(make([]byte, 1))
		want(t, "read", err, io.EOF)
		_, err = n.Host("a").Dial(t.Context(), "b:1")
		want(t, "dial", err, syscall.ECONNREFUSED)
		listen(t, n, "b:1")
		dial(t, n, "a", "b:1")
	})
}

// TestVanish takes the power away: nobody is told, and a connection is known to be over only after the system is back.
func TestVanish(t *testing.T) {
	virtual(t, Link{}, func(t *testing.T, n *Network, a, b net.Conn) {
		n.Vanish("b")
		write(t, a, "anybody there?")
		a.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := a.Read(make([]byte, 1))
		want(t, "read", err, os.ErrDeadlineExceeded)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = n.Host("a").Dial(ctx, "b:1")
		want(t, "dial", err, context.DeadlineExceeded)
		n.Host("b")
		a.SetReadDeadline(time.Time{})
		_, err = a.Read(make([]byte, 1))
		want(t, "read", err, syscall.ECONNRESET)
	})
}

// TestFreeze stops a process: others can still connect and write until there is no room, and it finds all of it when it goes on.
func TestFreeze(t *testing.T) {
	virtual(t, Link{}, func(t *testing.T, n *Network, a, b net.Conn) {
		n.Freeze("b")
		write(t, a, "late")
		a.SetWriteDeadline(time.Now().Add(time.Second))
		sent, err := a.Write(make([]byte, 2*bufferBytes))
		want(t, "write", err, os.ErrDeadlineExceeded)
		if sent != bufferBytes-len("late") {
			t.Errorf("%d bytes had room", sent)
		}
		c := dial(t, n, "a", "b:1")
		b.SetReadDeadline(time.Now().Add(time.Second))
		time.AfterFunc(time.Minute, func() { n.Thaw("b") })
		start := time.Now()
		read(t, b, "late")
		must(t, n.Host("b").Gate(t.Context()))
		if d := time.Since(start); d != time.Minute {
			t.Errorf("read after %v", d)
		}
		c.Close()
	})
}

// TestFrozenClose keeps the end of a connection back while its process is stopped.
func TestFrozenClose(t *testing.T) {
	virtual(t, Link{}, func(t *testing.T, n *Network, a, b net.Conn) {
		n.Freeze("b")
		must(t, b.Close())
		a.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := a.Read(make([]byte, 1))
		want(t, "read", err, os.ErrDeadlineExceeded)
		n.Thaw("b")
		a.SetReadDeadline(time.Time{})
		_, err = a.Read(make([]byte, 1))
		want(t, "read", err, io.EOF)
	})
}

// TestGateEnds lets who waits for a frozen process give up, and tells it of its end.
func TestGateEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		h := n.Host("a")
		n.Freeze("a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		want(t, "gate", h.Gate(ctx), context.DeadlineExceeded)
		time.AfterFunc(time.Second, func() { n.Kill("a") })
		want(t, "gate", h.Gate(t.Context()), net.ErrClosed)
	})
}

// TestLink measures latency, bandwidth and loss.
func TestLink(t *testing.T) {
	tests := []struct {
		name     string
		link     Link
		size     int
		min, max time.Duration
	}{
		{"none", Link{}, 1000, 0, 0},
		{"latency", Link{Latency: 5 * time.Millisecond}, 1000, 5 * time.Millisecond, 5 * time.Millisecond},
		{"jitter", Link{Latency: time.Millisecond, Jitter: time.Millisecond}, 1, time.Millisecond, 2 * time.Millisecond},
		{"bandwidth", Link{BytesPerSecond: 1 << 20}, 1 << 19, 500 * time.Millisecond, 501 * time.Millisecond},
		{"loss", Link{Loss: 1}, 1, retransmit, 20 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, Link{}, func(t *testing.T, n *Network, a, b net.Conn) {
				n.SetLink("a", "b", tt.link)
				start := time.Now()
				go a.Write(make([]byte, tt.size))
				_, err := io.ReadFull(b, make([]byte, tt.size))
				must(t, err)
				if d := time.Since(start); d < tt.min || d > tt.max {
					t.Errorf("took %v, want %v to %v", d, tt.min, tt.max)
				}
			})
		})
	}
}

// TestSameSeed takes equally long with the same seed, and not with another.
func TestSameSeed(t *testing.T) {
	run := func(seed uint64) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			n := New(seed)
			n.SetLinks(Link{Latency: time.Millisecond, Jitter: time.Second, Loss: 0.1})
			ln := listen(t, n, "b:1")
			a := dial(t, n, "a", "b:1")
			b, err := ln.Accept()
			must(t, err)
			start := time.Now()
			for range 10 {
				write(t, a, "x")
				read(t, b, "x")
			}
			took = time.Since(start)
		})
		return took
	}
	first, again, other := run(1), run(1), run(2)
	if first != again || first == other {
		t.Errorf("%v, the same seed %v, another %v", first, again, other)
	}
}

func BenchmarkEcho(b *testing.B) {
	n := New(1)
	ln, err := n.Host("b").Listen("b:1")
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		c, err := ln.Accept()
		if err == nil {
			io.Copy(c, c)
		}
	}()
	c, err := n.Host("a").Dial(b.Context(), "b:1")
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 4096)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		_, werr := c.Write(p)
		if _, err := io.ReadFull(c, p); errors.Join(err, werr) != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	ln.Close()
}
