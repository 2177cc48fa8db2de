package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"kintsugi/internal/secret"
)

// Methods of the tests.
const (
	methodEcho    Method = 240 // head and body come back
	methodStatus  Method = 241
	methodPanic   Method = 242
	methodWait    Method = 243 // until its context ends
	methodStream  Method = 244 // the body in pieces
	methodAborted Method = 245 // a stream that fails in the middle
	methodMeta    Method = 246 // for metadata nodes only
	methodOneWay  Method = 247
	methodSilent  Method = 248 // answers without looking at the body
	methodFails   Method = 249
	methodSlow    Method = 250 // reads the body, answers after twice the time that a body may take
)

func newSecret(t testing.TB) *secret.Secret {
	t.Helper()
	s, err := secret.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRoleNames(t *testing.T) {
	for _, tt := range []struct {
		name  string
		roles Role
		want  string
	}{
		{"none", 0, "[]"},
		{"one", Storage, "[storagenode]"},
		{"all of a node", Gateway | Storage | Meta, "[gateway storagenode meta]"},
		{"an operator is no node", Admin, "[]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.roles.Names(); got == nil || fmt.Sprint(got) != tt.want {
				t.Errorf("got %#v, want %s", got, tt.want)
			}
		})
	}
}

// server is a Server on loopback with the methods of the tests.
type server struct {
	*Server
	addr   string
	oneWay chan string // heads and bodies of one-way calls
}

// config has a timeout that a busy machine does not exceed.
func config(s *secret.Secret, node string, roles Role) Config {
	return Config{Self: Identity{Node: node, Roles: roles, Incarnation: 7}, Secret: s, DialTimeout: 10 * time.Second}
}

func startServer(t testing.TB, cfg Config) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startServerOn(t, cfg, l)
}

func startServerOn(t testing.TB, cfg Config, l net.Listener) *server {
	t.Helper()
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := &server{Server: s, addr: l.Addr().String(), oneWay: make(chan string, 1000)}
	srv.handleAll()
	serve(t, s, l)
	return srv
}

func serve(t testing.TB, s *Server, l net.Listener) {
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func (s *server) handleAll() {
	const all = Gateway | Storage | Meta | Admin
	s.Handle(methodEcho, all, echo)
	s.Handle(methodStatus, all, func(context.Context, *Request) error {
		return fmt.Errorf("wrapped: %w", &StatusError{Code: 77, Detail: []byte("why")})
	})
	s.Handle(methodPanic, all, func(context.Context, *Request) error { panic("oh") })
	s.Handle(methodWait, all, func(ctx context.Context, _ *Request) error {
		<-ctx.Done()
		return ctx.Err()
	})
	s.Handle(methodStream, all, streamBody)
	s.Handle(methodAborted, all, func(_ context.Context, r *Request) error {
		w, err := r.ReplyStream([]byte("head"))
		if err != nil {
			return err
		}
		w.Write([]byte("begin"))
		return errors.New("the disk is gone")
	})
	s.Handle(methodMeta, Meta, echo)
	s.Handle(methodOneWay, all, func(_ context.Context, r *Request) error {
		body := make([]byte, r.Size)
		if err := r.ReadBody(body); err != nil {
			return err
		}
		s.oneWay <- string(r.Head) + "/" + string(body)
		return nil
	})
	s.Handle(methodSilent, all, func(_ context.Context, r *Request) error { return r.Reply(nil, make([]byte, 4<<20)) })
	s.Handle(methodSlow, all, func(_ context.Context, r *Request) error {
		if err := r.ReadBody(make([]byte, r.Size)); err != nil {
			return err
		}
		time.Sleep(2 * stall)
		return nil
	})
	s.Handle(methodFails, all, func(context.Context, *Request) error { return errors.New("no luck") })
}

func echo(_ context.Context, r *Request) error {
	body := make([]byte, r.Size)
	if err := r.ReadBody(body); err != nil {
		return err
	}
	return r.Reply(r.Head, body)
}

func streamBody(_ context.Context, r *Request) error {
	body := make([]byte, r.Size)
	if err := r.ReadBody(body); err != nil {
		return err
	}
	w, err := r.ReplyStream(r.Head)
	if err != nil {
		return err
	}
	for piece := range chunks(body, 10_000) {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

func chunks(p []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(p) > 0 {
			n := min(size, len(p))
			if !yield(p[:n]) {
				return
			}
			p = p[n:]
		}
	}
}

func startClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// pair is a server and a client of one cluster. change alters both configurations.
func pair(t testing.TB, change func(*Config)) (*server, *Client) {
	t.Helper()
	s := newSecret(t)
	serverConfig, clientConfig := config(s, "server", Storage), config(s, "client", Gateway)
	if change != nil {
		change(&serverConfig)
		change(&clientConfig)
	}
	return startServer(t, serverConfig), startClient(t, clientConfig)
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	return p
}

// encrypted makes loopback be treated as any network.
func encrypted(c *Config) { c.Plain = func(net.Addr) bool { return false } }

// transports are what the connections of the tests may be.
func transports(t *testing.T, test func(t *testing.T, change func(*Config))) {
	for name, change := range map[string]func(*Config){
		"plain":     nil,
		"TLS":       encrypted,
		"version 1": func(c *Config) { c.MaxVersion = version1 },
	} {
		t.Run(name, func(t *testing.T) { test(t, change) })
	}
}

func TestCallsOfAllSizes(t *testing.T) {
	transports(t, func(t *testing.T, change func(*Config)) {
		s, c := pair(t, change)
		for _, size := range []struct{ head, body int }{
			{0, 0}, {1, 0}, {0, 1}, {100, 100}, {copyBelow - maxHeaderSize, 0}, {copyBelow, 0}, {0, copyBelow}, {5000, 5000},
			{readAhead, readAhead}, {10, 128 << 10}, {1 << 18, 1 << 20}, {MaxHead, 0},
		} {
			head, body, into := pattern(size.head), pattern(size.body), make([]byte, size.body)
			reply, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho, Head: head, Body: body, Into: into})
			if err != nil {
				t.Fatalf("%v: %v", size, err)
			}
			if !bytes.Equal(reply.Head, head) || !bytes.Equal(into, body) || !bytes.Equal(reply.Body, body) {
				t.Fatalf("%v: another answer than was sent", size)
			}
			if size.body > 0 && &reply.Body[0] != &into[0] {
				t.Fatalf("%v: the body is not in Into", size)
			}
			if reply, err = c.Do(testContext(t), s.addr, &Call{Method: methodEcho, Body: body}); err != nil || !bytes.Equal(reply.Body, body) {
				t.Fatalf("%v: without Into: %v", size, err)
			}
		}
	})
}

func TestFailuresOfHandlers(t *testing.T) {
	transports(t, func(t *testing.T, change func(*Config)) {
		s, c := pair(t, change)
		cases := []struct {
			name   string
			method Method
			check  func(error) bool
		}{
			{"status", methodStatus, isStatus(77, "why")},
			{"panic", methodPanic, isStatus(CodeInternal, "handler panicked: oh")},
			{"internal", methodFails, isStatus(CodeInternal, "no luck")},
			{"unknown method", 200, isStatus(CodeMethod, "")},
			{"not this caller's", methodMeta, func(err error) bool { return errors.Is(err, ErrRefused) && !errors.Is(err, ErrUnreachable) }},
		}
		for _, tc := range cases {
			_, err := c.Do(testContext(t), s.addr, &Call{Method: tc.method, Body: pattern(1 << 20)})
			if !tc.check(err) {
				t.Errorf("%s: got %v", tc.name, err)
			}
			if reply, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho, Body: []byte("still there")}); err != nil || string(reply.Body) != "still there" {
				t.Errorf("after %s: got %q, %v", tc.name, reply.Body, err)
			}
		}
		if n := connections(c, s.addr); n != 1 {
			t.Errorf("%d connections: a failure of a handler must not cost one", n)
		}
	})
}

func isStatus(code uint16, detail string) func(error) bool {
	return func(err error) bool {
		status, ok := errors.AsType[*StatusError](err)
		return ok && status.Code == code && string(status.Detail) == detail
	}
}

func connections(c *Client, addr string) int {
	c.mu.Lock()
	p := c.peers[addr]
	c.mu.Unlock()
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live)
}

func TestAnswerBeforeTheBodyIsRead(t *testing.T) {
	transports(t, func(t *testing.T, change func(*Config)) {
		s, c := pair(t, change)
		// Both are larger than the buffers of the sockets: who does not read before it writes hangs.
		reply, err := c.Do(testContext(t), s.addr, &Call{Method: methodSilent, Body: make([]byte, 16<<20)})
		if err != nil || len(reply.Body) != 4<<20 {
			t.Fatalf("got %d bytes, %v", len(reply.Body), err)
		}
	})
}

func TestAnswerOfAnotherLength(t *testing.T) {
	s, c := pair(t, nil)
	_, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho, Body: pattern(10), Into: make([]byte, 9)})
	if !errors.Is(err, ErrBroken) || !errors.Is(err, ErrFormat) {
		t.Errorf("got %v", err)
	}
}

func TestStreamOfAnAnswer(t *testing.T) {
	transports(t, func(t *testing.T, change func(*Config)) {
		s, c := pair(t, change)
		for _, method := range []Method{methodStream, methodEcho} {
			for _, size := range []int{0, 1, 9999, 10_000, 1 << 20} {
				want := pattern(size)
				head, body, err := c.Open(testContext(t), s.addr, &Call{Method: method, Head: []byte("h"), Body: want})
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(body)
				if err != nil || !bytes.Equal(got, want) || string(head) != "h" {
					t.Errorf("method %d, %d bytes: got %d, head %q, %v", method, size, len(got), head, err)
				}
				if err := body.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		if n := connections(c, s.addr); n != 1 {
			t.Errorf("%d connections, want that of all the streams", n)
		}
	})
}

func TestStreamCutOff(t *testing.T) {
	s, c := pair(t, nil)
	_, body, err := c.Open(testContext(t), s.addr, &Call{Method: methodAborted})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	if string(got) != "begin" || !errors.Is(err, io.ErrUnexpectedEOF) || !isStatus(CodeInternal, "the disk is gone")(err) {
		t.Errorf("got %q, %v", got, err)
	}
	body.Close()
	if _, _, err := c.Open(testContext(t), s.addr, &Call{Method: methodStatus}); !isStatus(77, "why")(err) {
		t.Errorf("got %v", err)
	}
	_, body, err = c.Open(testContext(t), s.addr, &Call{Method: methodStream, Body: pattern(1 << 20)})
	if err != nil {
		t.Fatal(err)
	}
	c.Forget(s.addr)
	if _, err := io.ReadAll(body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

func TestOneWayCalls(t *testing.T) {
	transports(t, func(t *testing.T, change func(*Config)) {
		s, c := pair(t, change)
		stream, err := c.Stream(testContext(t), s.addr, methodOneWay)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			if err := stream.Send(testContext(t), fmt.Append(nil, i), pattern(i)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 100 {
			if got, want := <-s.oneWay, fmt.Sprint(i)+"/"+string(pattern(i)); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		if err := stream.Close(); err != nil {
			t.Error(err)
		}
		<-stream.Done()
		if err := stream.Send(testContext(t), nil, nil); !errors.Is(err, ErrBroken) {
			t.Errorf("after Close: got %v", err)
		}
	})
}

func TestStreamIsDoneWhenTheOtherEndIs(t *testing.T) {
	s, c := pair(t, nil)
	refused, err := c.Stream(testContext(t), s.addr, methodMeta)
	if err != nil {
		t.Fatal(err)
	}
	if err := refused.Send(testContext(t), nil, nil); err != nil {
		t.Fatal(err)
	}
	<-refused.Done() // the method is for others
	stream, err := c.Stream(testContext(t), s.addr, methodOneWay)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	<-stream.Done()
}
