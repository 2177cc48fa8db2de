package rpc

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(ctx context.Context, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Time is virtual, and all goroutines end: synctest fails otherwise.
func TestInMemoryWithVirtualTime(t *testing.T) {
	secret := newSecret(t)
	for name, plain := range map[string]bool{"plain": true, "TLS": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
				serverConfig, clientConfig := config(secret, "server", Storage), config(secret, "client", Gateway)
				clientConfig.Dial = network.dial
				for _, cfg := range []*Config{&serverConfig, &clientConfig} {
					cfg.Plain = func(net.Addr) bool { return plain }
				}
				s := startServerOn(t, serverConfig, network)
				c := startClient(t, clientConfig)
				testVirtualTime(t, s, c)
			})
		})
	}
}

func testVirtualTime(t *testing.T, s *server, c *Client) {
	if _, err := c.Do(t.Context(), s.addr, &Call{Method: methodEcho, Body: pattern(100_000)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), s.addr, &Call{Method: methodSlow, Body: pattern(100_000)}); err != nil {
		t.Errorf("a slow handler: %v", err)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if _, err := c.Do(ctx, s.addr, &Call{Method: methodWait}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if waited := time.Since(start); waited != time.Hour {
		t.Errorf("waited for %v", waited)
	}
	stream, err := c.Stream(t.Context(), s.addr, methodOneWay)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(t.Context(), []byte("a"), []byte("b")); err != nil || <-s.oneWay != "a/b" {
		t.Fatal(err)
	}
	stream.Close()
	if _, err := c.Do(t.Context(), s.addr, &Call{Method: methodEcho}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(idleTime / 2)
	if n := connections(c, s.addr); n != 1 {
		t.Errorf("%d connections, want one", n)
	}
	time.Sleep(idleTime)
	if n := connections(c, s.addr); n != 0 {
		t.Errorf("%d connections are kept, idle for %v", n, idleTime*3/2)
	}
}

func TestCallContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, stop := context.WithCancel(t.Context())
		defer stop()
		lazy := newCallContext(server, 1000)
		used := newCallContext(server, 1000)
		child, cancel := context.WithCancel(used)
		defer cancel()
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		if lazy.Err() != nil || child.Err() != nil {
			t.Error("ended before the deadline")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		for name, ctx := range map[string]context.Context{"lazy": lazy, "used": used, "child": child} {
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("%s: got %v", name, ctx.Err())
			}
		}
		left := newCallContext(server, 0)
		left.end()
		<-left.Done() // what a handler has left behind ends with it
		if left.Err() == nil || newCallContext(server, 0).Err() != nil {
			t.Error("a context without deadline ends with its handler only")
		}
		open := newCallContext(server, 0)
		done := open.Done()
		stop()
		<-done
		if !errors.Is(open.Err(), context.Canceled) {
			t.Errorf("got %v", open.Err())
		}
	})
}

// A caller that is stopped in the middle of a body does not keep the memory for it as long as it wanted to wait; one that is
// only slow may.
func TestBodyThatStops(t *testing.T) {
	secret := newSecret(t)
	synctest.Test(t, func(t *testing.T) {
		network := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		serverConfig, clientConfig := config(secret, "server", Storage), config(secret, "client", Gateway)
		serverConfig.Plain = func(net.Addr) bool { return true }
		clientConfig.Plain = serverConfig.Plain
		s := startServerOn(t, serverConfig, network)
		if err := clientConfig.complete(); err != nil {
			t.Fatal(err)
		}
		p, err := newProver(clientConfig)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := network.dial(t.Context(), s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		c, err := p.dial(t.Context(), raw)
		if err != nil {
			t.Fatal(err)
		}
		h := header{kind: kindCall, method: methodEcho, waitMS: 3_600_000, bodySize: 4 * pieceSize}
		if _, err := raw.Write(appendHeader(nil, c.version, h, nil)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(pieceTime - time.Second)
			if _, err := raw.Write(pattern(pieceSize)); err != nil {
				t.Fatalf("a slow body: %v", err)
			}
		}
		start := time.Now()
		if _, _, err := c.read(nil); err == nil {
			t.Error("half a body was answered")
		}
		if waited := time.Since(start); waited > pieceTime {
			t.Errorf("the server waited for %v", waited)
		}
	})
}
