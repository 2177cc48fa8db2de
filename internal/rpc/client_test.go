package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestContextEndsACall(t *testing.T) {
	transports(t, func(t *testing.T, change func(*Config)) {
		s, c := pair(t, change)
		ctx, cancel := context.WithCancel(testContext(t))
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := c.Do(ctx, s.addr, &Call{Method: methodWait}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		if n := connections(c, s.addr); n != 0 {
			t.Errorf("%d connections, want it closed", n)
		}
		if _, err := c.Do(ctx, s.addr, &Call{Method: methodEcho}); !errors.Is(err, context.Canceled) {
			t.Errorf("when it is over already: got %v", err)
		}
		ctx, cancel = context.WithTimeout(testContext(t), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := c.Do(ctx, s.addr, &Call{Method: methodWait}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		if waited := time.Since(start); waited > 5*time.Second {
			t.Errorf("waited for %v", waited)
		}
	})
}

// The deadline travels: the handler's context ends with it.
func TestDeadlineTravels(t *testing.T) {
	cfg := config(newSecret(t), "server", Storage)
	srv, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan time.Duration, 1)
	ended := make(chan error, 1)
	srv.Handle(methodEcho, Gateway, func(ctx context.Context, _ *Request) error {
		deadline, ok := ctx.Deadline()
		if !ok {
			left <- 0
			return nil
		}
		left <- time.Until(deadline)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, srv, l)
	c := startClient(t, config(cfg.Secret, "client", Gateway))
	if _, err := c.Do(t.Context(), l.Addr().String(), &Call{Method: methodEcho}); err != nil || <-left != 0 {
		t.Errorf("without a deadline: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Do(ctx, l.Addr().String(), &Call{Method: methodEcho}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if got := <-left; got <= 0 || got > time.Second+time.Millisecond {
		t.Errorf("the server has %v left", got)
	}
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the handler saw %v", err)
	}
}

// Once Do has returned, its buffer belongs to the caller again.
func TestIntoIsNotWrittenAfterTheCall(t *testing.T) {
	s, c := pair(t, nil)
	into, body := make([]byte, 4<<20), bytes.Repeat([]byte{1}, 4<<20)
	for i := range 30 {
		ctx, cancel := context.WithTimeout(testContext(t), time.Duration(i)*400*time.Microsecond)
		_, err := c.Do(ctx, s.addr, &Call{Method: methodEcho, Body: body, Into: into})
		cancel()
		clear(into) // the race detector looks here
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
}

func TestForget(t *testing.T) {
	s, c := pair(t, nil)
	failed := make(chan error, 2)
	for _, idempotent := range []bool{false, true} {
		go func() {
			_, err := c.Do(testContext(t), s.addr, &Call{Method: methodWait, Idempotent: idempotent})
			failed <- err
		}()
	}
	eventually(t, "two calls in flight", func() bool { return connections(c, s.addr) == 2 })
	c.Forget(s.addr)
	for range 2 {
		// One that was still shaking hands is unreachable instead.
		if err := <-failed; !errors.Is(err, ErrBroken) && !errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v, want %v", err, ErrBroken)
		}
	}
	if _, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho}); err != nil {
		t.Errorf("a peer that was forgotten cannot be called: %v", err)
	}
	c.Forget("127.0.0.1:1") // never heard of
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}

func TestUnreachable(t *testing.T) {
	s, c := pair(t, nil)
	if _, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, idempotent := range []bool{false, true} {
		start := time.Now()
		if _, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho, Idempotent: idempotent}); !errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v, want %v", err, ErrUnreachable)
		}
		if waited := time.Since(start); waited > 5*time.Second {
			t.Errorf("noticed after %v", waited)
		}
	}
}

// A process that is stopped accepts connections and is silent.
func TestSilentPeerIsUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, change := range map[string]func(*Config){"plain": func(*Config) {}, "TLS": encrypted} {
		cfg := config(newSecret(t), "client", Gateway)
		cfg.DialTimeout = 50 * time.Millisecond
		change(&cfg)
		c := startClient(t, cfg)
		_, err = c.Do(testContext(t), l.Addr().String(), &Call{Method: methodEcho})
		if !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrRefused) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", name, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err = c.Do(ctx, l.Addr().String(), &Call{Method: methodEcho})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnreachable) {
			t.Errorf("%s, when the caller did not wait: got %v", name, err)
		}
	}
}

// A process is killed and another one has its address: the pooled connections are of no use, which no caller should notice.
func TestPooledConnectionsOfADeadProcess(t *testing.T) {
	transports(t, func(t *testing.T, change func(*Config)) {
		cfg := config(newSecret(t), "server", Storage)
		clientConfig := config(cfg.Secret, "client", Gateway)
		if change != nil {
			change(&cfg)
			change(&clientConfig)
		}
		first := startServer(t, cfg)
		c := startClient(t, clientConfig)
		var ready sync.WaitGroup
		for range 8 {
			ready.Go(func() {
				ctx, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
				defer cancel()
				_, body, err := c.Open(ctx, first.addr, &Call{Method: methodStream, Body: pattern(100_000)})
				if err == nil {
					io.ReadAll(body)
				}
			})
		}
		ready.Wait()
		first.Close()
		l, err := net.Listen("tcp", first.addr)
		if err != nil {
			t.Skip("the port is taken: ", err)
		}
		second := startServerOn(t, cfg, l)
		for i := range 20 {
			if _, err := c.Do(testContext(t), second.addr, &Call{Method: methodEcho, Idempotent: i%2 == 0, Body: pattern(i * 1000)}); err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
		}
	})
}

// The connection breaks when a call was received: its caller cannot know whether it was executed.
func TestCallThatMayHaveBeenExecuted(t *testing.T) {
	for _, tc := range []struct {
		name       string
		idempotent bool
		want       error
		executed   int32
	}{
		{"once at most", false, ErrBroken, 1},
		{"idempotent", true, nil, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := config(newSecret(t), "server", Storage)
			srv, err := NewServer(cfg)
			if err != nil {
				t.Fatal(err)
			}
			var executed atomic.Int32
			srv.Handle(methodEcho, Gateway, func(_ context.Context, r *Request) error {
				if len(r.Head) > 0 && executed.Add(1) == 1 {
					r.conn.raw.Close()
				}
				return nil
			})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			serve(t, srv, l)
			c := startClient(t, config(cfg.Secret, "client", Gateway))
			addr := l.Addr().String()
			if _, err := c.Do(testContext(t), addr, &Call{Method: methodEcho}); err != nil {
				t.Fatal(err)
			}
			_, err = c.Do(testContext(t), addr, &Call{Method: methodEcho, Head: []byte("x"), Idempotent: tc.idempotent})
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if got := executed.Load(); got != tc.executed {
				t.Errorf("executed %d times, want %d", got, tc.executed)
			}
		})
	}
}

func TestManyCallersShareConnections(t *testing.T) {
	s, c := pair(t, nil)
	var callers sync.WaitGroup
	for i := range maxInFlight + 100 {
		callers.Go(func() {
			body := pattern(i * 10)
			for range 5 {
				reply, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho, Body: body})
				if err != nil || !bytes.Equal(reply.Body, body) {
					t.Errorf("caller %d: %d bytes, %v", i, len(reply.Body), err)
				}
			}
		})
	}
	callers.Wait()
	if n := connections(c, s.addr); n > maxIdle {
		t.Errorf("%d connections are kept, want at most %d", n, maxIdle)
	}
}

func TestTooManyInFlightWait(t *testing.T) {
	s, c := pair(t, nil)
	ctx, cancel := context.WithCancel(testContext(t))
	var callers sync.WaitGroup
	for range maxInFlight {
		callers.Go(func() { c.Do(ctx, s.addr, &Call{Method: methodWait}) })
	}
	p, err := c.peer(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "full peer", func() bool { return len(p.slots) == maxInFlight })
	short, cancelShort := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancelShort()
	if _, err := c.Do(short, s.addr, &Call{Method: methodEcho}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	cancel()
	callers.Wait()
	if _, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestTooLargeIsNotSent(t *testing.T) {
	s, c := pair(t, nil)
	for _, call := range []*Call{{Head: make([]byte, MaxHead+1)}, {Body: make([]byte, MaxBody+1)}} {
		call.Method = methodEcho
		if _, err := c.Do(testContext(t), s.addr, call); !errors.Is(err, ErrTooLarge) {
			t.Errorf("got %v", err)
		}
	}
	if n := connections(c, s.addr); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestCloseEndsWhatIsInFlight(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		s, c := pair(t, nil)
		failed := make(chan error, 1)
		go func() {
			_, err := c.Do(testContext(t), s.addr, &Call{Method: methodWait})
			failed <- err
		}()
		eventually(t, "call", func() bool { return connections(c, s.addr) == 1 && len(s.strangers) == 0 })
		s.Close()
		if err := <-failed; !errors.Is(err, ErrBroken) && !errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("client", func(t *testing.T) {
		s, c := pair(t, nil)
		failed := make(chan error, 1)
		go func() {
			_, err := c.Do(testContext(t), s.addr, &Call{Method: methodWait})
			failed <- err
		}()
		eventually(t, "call", func() bool { return connections(c, s.addr) == 1 })
		c.Close()
		if err := <-failed; !errors.Is(err, ErrBroken) && !errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho}); !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: got %v", err)
		}
		if _, err := c.Stream(testContext(t), s.addr, methodOneWay); !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: got %v", err)
		}
	})
}
