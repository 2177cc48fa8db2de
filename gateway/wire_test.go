package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unsigned is the payload hash of bodies that are not covered.
const unsigned = "UNSIGNED-PAYLOAD"

// wire is a raw connection to the server.
type wire struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (s *testServer) dial() *wire {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	return &wire{s.t, c, bufio.NewReader(c)}
}

func (w *wire) write(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w.Conn, text); err != nil {
		w.t.Logf("write: %v", err) // the server may have closed already
	}
}

// answer reads one response; nil if the connection ended instead.
func (w *wire) answer(method string) *answer {
	w.t.Helper()
	response, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return &answer{t: w.t, status: response.StatusCode, header: response.Header, body: string(body), err: err, last: response.Close}
}

// closed tells whether the server closes the connection without another answer.
func (w *wire) closed() bool {
	n, err := w.r.Read(make([]byte, 1))
	return n == 0 && !errors.Is(err, os.ErrDeadlineExceeded)
}

// signedHeader returns the signed header of a request up to, but without, the empty line.
func (s *testServer) signedHeader(method, target, payload string, headers ...string) string {
	s.t.Helper()
	r := s.request(method, target, "", headers...)
	if payload != "" {
		r.Header.Set("X-Amz-Content-Sha256", payload)
	}
	s.sign(r, "")
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, s.address)
	for name, values := range r.Header {
		for _, value := range values {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	return b.String()
}

// TestSecurity16Framing sends what could be two requests to someone else. None of it may
// be answered with success or lead to a second answer.
func TestSecurity16Framing(t *testing.T) {
	s := withBucket(t)
	smuggled := s.signedHeader("PUT", "/bucket/smuggled", unsigned) + "Content-Length: 0\r\n\r\n"
	tests := []struct{ name, framing, body string }{
		{"CL and TE", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
		{"TE and CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n"},
		{"two CL", "Content-Length: 0\r\nContent-Length: 4\r\n", ""},
		{"CL list", "Content-Length: 0, 4\r\n", ""},
		{"CL sign", "Content-Length: +0\r\n", ""},
		{"CL negative", "Content-Length: -1\r\n", ""},
		{"TE gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"},
		{"TE identity", "Transfer-Encoding: identity\r\nContent-Length: 0\r\n", ""},
		{"two TE", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
		{"space before colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n"},
		{"bare LF", "Content-Length: 0\nX: y\r\n", ""},
		{"continued line", "Content-Length: 0\r\nX: y\r\n z\r\n", ""},
		{"chunk size sign", "Transfer-Encoding: chunked\r\n", "+0\r\n\r\n"},
		{"chunk size beyond 64 bits", "Transfer-Encoding: chunked\r\n", "10000000000000000\r\nx\r\n0\r\n\r\n"},
		{"chunk ended by LF", "Transfer-Encoding: chunked\r\n", "1\nx\n0\n\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := s.dial()
			w.write(s.signedHeader("PUT", "/bucket/key", unsigned) + test.framing + "\r\n" + test.body + smuggled)
			if got := w.answer("PUT"); got != nil && got.status < 400 {
				t.Errorf("answered %d", got.status)
			}
			if second := w.answer("PUT"); second != nil {
				t.Errorf("a second answer: %d", second.status)
			}
			s.head("/bucket/smuggled").want(404, "")
			s.head("/bucket/key").want(404, "")
		})
	}
}

func TestHTTPVersions(t *testing.T) {
	s := withBucket(t)
	header := s.signedHeader("PUT", "/bucket/key", unsigned)
	for version, framing := range map[string]string{
		"HTTP/2.0": "Content-Length: 0\r\n\r\n",
		"HTTP/1.0": "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		w := s.dial()
		w.write(strings.Replace(header, "HTTP/1.1", version, 1) + framing)
		if got := w.answer("PUT"); got == nil || got.status != 400 || !got.last {
			t.Errorf("%s: %+v", version, got)
		}
	}
	s.head("/bucket/key").want(404, "")
}

func TestSecurity7Hosts(t *testing.T) {
	s := withBucket(t)
	header := s.signedHeader("GET", "/bucket", "")
	for name, text := range map[string]string{
		"two hosts":     header + "Host: evil\r\n\r\n",
		"absolute form": strings.Replace(header, "GET /", "GET http://evil/", 1) + "\r\n",
		"no host":       strings.Replace(header, "Host: "+s.address+"\r\n", "", 1) + "\r\n",
	} {
		w := s.dial()
		w.write(text)
		if got := w.answer("GET"); got != nil && got.status != 400 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	w := s.dial()
	w.write(strings.Replace(header, "GET /", "GET http://"+s.address+"/", 1) + "\r\n")
	if got := w.answer("GET"); got == nil || got.status != 200 {
		t.Errorf("absolute form with the same host: %+v", got)
	}
}

// TestSecurity15CutBodies: what does not arrive whole is never committed.
func TestSecurity15CutBodies(t *testing.T) {
	s := withBucket(t)
	tests := []struct{ name, framing, body string }{
		{"Content-Length, nothing", "Content-Length: 100000\r\n", ""},
		{"Content-Length, some", "Content-Length: 100000\r\n", pattern(50_000)},
		{"Content-Length, small", "Content-Length: 100\r\n", pattern(50)},
		{"chunked, within a chunk", "Transfer-Encoding: chunked\r\n", "ffff\r\n" + pattern(50_000)},
		{"chunked, between chunks", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"},
		{"chunked, in the last chunk", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n"},
		{"chunked, in a size", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := s.dial()
			w.write(s.signedHeader("PUT", "/bucket/key", unsigned) + test.framing + "\r\n" + test.body)
			if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got := w.answer("PUT"); got != nil && (got.status != 400 || got.code() != "IncompleteBody") {
				t.Errorf("answered %d %s", got.status, got.body)
			}
			s.head("/bucket/key").want(404, "")
		})
	}
	s.removals.Wait()
	if n := s.cluster.shards(t); n != 0 {
		t.Errorf("cut bodies left %d shards", n)
	}
}

func TestQuirk23ChunkedWithoutLength(t *testing.T) {
	s := withBucket(t)
	for _, size := range []int{0, 5, 20_000, 100_000} {
		w := s.dial()
		body := pattern(size)
		text := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", size, body)
		if size == 0 {
			text = "0\r\n\r\n"
		}
		header := s.signedHeader("PUT", "/bucket/key", unsigned) + "Transfer-Encoding: chunked\r\n\r\n"
		w.write(header + text)
		if got := w.answer("PUT"); got == nil || got.status != 200 {
			t.Fatalf("%d bytes: %+v", size, got)
		}
		s.get("/bucket/key").want(200, "").wantBody(body)
		w.write(s.signedHeader("GET", "/bucket/key", "") + "\r\n") // the connection is in step
		if got := w.answer("GET"); got == nil || got.body != body {
			t.Errorf("%d bytes: no second answer", size)
		}
	}
}

func TestQuirk24ExpectContinue(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/taken", "x")
	body := pattern(100_000)
	expect := "Content-Length: 100000\r\nExpect: 100-continue\r\n"
	refusals := []struct {
		name, header string
		status       int
		code         string
	}{
		{"wrong signature", strings.Replace(s.signedHeader("PUT", "/bucket/key", unsigned), "Signature=", "Signature=0", 1), 400, ""},
		{"anonymous", "PUT /bucket/key HTTP/1.1\r\nHost: x\r\n", 403, "AccessDenied"},
		{"no bucket", s.signedHeader("PUT", "/nowhere/key", unsigned), 404, "NoSuchBucket"},
		{"condition", s.signedHeader("PUT", "/bucket/taken", unsigned, "If-None-Match", "*"), 412, "PreconditionFailed"},
		{"not implemented", s.signedHeader("PUT", "/bucket/key?acl", unsigned), 501, "NotImplemented"},
		{"digest", s.signedHeader("PUT", "/bucket/key", unsigned, "Content-Md5", "x"), 400, "InvalidDigest"},
	}
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			w := s.dial()
			w.write(test.header + expect + "\r\n")
			got := w.answer("PUT")
			if got == nil || got.status == 100 {
				t.Fatalf("asked for the body: %+v", got)
			}
			if test.code != "" {
				got.want(test.status, test.code)
			} else if got.status < 400 {
				t.Errorf("status %d", got.status)
			}
			if !w.closed() {
				t.Error("the connection stays open, though the client may send the body")
			}
		})
	}
	for _, value := range []string{"100-continue", "100-Continue"} { // rclone writes the second
		w := s.dial()
		w.write(s.signedHeader("PUT", "/bucket/key", unsigned) + strings.Replace(expect, "100-continue", value, 1) + "\r\n")
		line, err := w.r.ReadString('\n')
		if err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("%s: %q, %v", value, line, err)
		}
		if _, err := w.r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		w.write(body)
		if got := w.answer("PUT"); got == nil || got.status != 200 {
			t.Fatalf("%s: %+v", value, got)
		}
	}
	s.get("/bucket/key").want(200, "").wantBody(body)
}

// TestSecurity17EarlyRefusal: the unread body of a refused request is no request, and the client reads the refusal.
func TestSecurity17EarlyRefusal(t *testing.T) {
	s := withBucket(t)
	second := s.signedHeader("PUT", "/bucket/second", unsigned) + "Content-Length: 0\r\n\r\n"
	for _, size := range []int{100, 100_000, 1 << 20, 6 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w := s.dial()
			body := strings.Repeat(second, size/len(second)+1)[:size]
			w.write(fmt.Sprintf("PUT /bucket/key HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size) + body)
			got := w.answer("PUT")
			if got == nil {
				t.Fatal("the refusal did not arrive")
			}
			got.want(403, "AccessDenied")
			s.head("/bucket/second").want(404, "")
		})
	}
}

func TestSecurity34Headers(t *testing.T) {
	s := withBucket(t)
	s.do("GET", "/bucket", "", "x-amz-meta-a", strings.Repeat("v", 9<<10)).want(431, "RequestHeaderSectionTooLarge")
	w := s.dial()
	w.write("GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("v", 100<<10))
	if got := w.answer("GET"); got == nil || got.status != 431 {
		t.Errorf("a huge header: %+v", got)
	}
	w = s.dial()
	w.write("GET /" + strings.Repeat("u", 100<<10))
	if got := w.answer("GET"); got != nil && got.status < 400 {
		t.Errorf("a huge URI: %+v", got)
	}
}

// shortListener has no descriptors left, twice.
type shortListener struct {
	net.Listener
	failures int
}

func (l *shortListener) Accept() (net.Conn, error) {
	if l.failures++; l.failures <= 2 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return nil, net.ErrClosed
}

func TestAcceptSurvivesShortage(t *testing.T) {
	short := &shortListener{}
	if _, err := newListener(short, time.Second).Accept(); !errors.Is(err, net.ErrClosed) || short.failures != 3 {
		t.Errorf("%v after %d calls", err, short.failures)
	}
}

func TestTooLarge(t *testing.T) {
	s := withBucket(t)
	w := s.dial()
	w.write(s.signedHeader("PUT", "/bucket/key", unsigned) + fmt.Sprintf("Content-Length: %d\r\n\r\n", maxObjectBytes+1) + pattern(10_000))
	got := w.answer("PUT")
	if got == nil {
		t.Fatal("no answer")
	}
	got.want(400, "EntityTooLarge")
	limited := &limitedBody{source: strings.NewReader("12345"), left: 4}
	if _, err := io.ReadAll(limited); !errors.Is(err, errLongBody) || !errors.Is(limited.cause(io.ErrClosedPipe), errLongBody) {
		t.Errorf("a body without length: %v", err)
	}
	whole := &limitedBody{source: strings.NewReader("1234"), left: 4}
	if got, err := io.ReadAll(whole); string(got) != "1234" || err != nil {
		t.Errorf("a body of just the length: %q, %v", got, err)
	}
}

func TestSecurity37SlowHeader(t *testing.T) {
	s := newTestServer(t, func(c *Config) { c.HeaderTimeout = 200 * time.Millisecond })
	w := s.dial()
	start := time.Now()
	go func() {
		for _, c := range "GET / HTTP/1.1\r\nHost: x\r\nSlow: " + strings.Repeat("a", 1000) {
			if _, err := w.Conn.Write([]byte(string(c))); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond) // the point of the client
		}
	}()
	w.answer("GET")
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("a header that drips was listened to for %v", took)
	}
}

func TestSecurity37SlowBody(t *testing.T) {
	s := withBucket(t, func(c *Config) { c.TransferTimeout = 200 * time.Millisecond })
	w := s.dial()
	start := time.Now()
	w.write(s.signedHeader("PUT", "/bucket/key", unsigned) + "Content-Length: 100000\r\n\r\n" + pattern(10_000))
	go func() {
		for range 1000 {
			if _, err := w.Conn.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond) // the point of the client
		}
	}()
	if got := w.answer("PUT"); got != nil && got.status < 400 {
		t.Errorf("answered %d", got.status)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a body that drips was listened to for %v", took)
	}
	s.head("/bucket/key").want(404, "")
}

// TestSlowReader: a client that takes nothing of its answer loses its connection.
func TestSlowReader(t *testing.T) {
	s := withBucket(t, func(c *Config) { c.TransferTimeout = time.Second })
	s.put("/bucket/key", pattern(10<<20))
	w := s.dial()
	w.write(s.signedHeader("GET", "/bucket/key", "") + "\r\n")
	waitFor(t, func() bool { return s.inFlight.Load() == 1 })
	waitFor(t, func() bool { return s.inFlight.Load() == 0 })
}

func TestSecurity37Pipelining(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	w := s.dial()
	one := s.signedHeader("GET", "/bucket/key", "") + "\r\n"
	const requests = 500
	go w.write(strings.Repeat(one, requests))
	for i := range requests {
		if got := w.answer("GET"); got == nil || got.status != 200 || got.body != "x" {
			t.Fatalf("answer %d: %+v", i, got)
		}
	}
}

func TestHTTP10(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	w := s.dial()
	w.write(strings.Replace(s.signedHeader("GET", "/bucket/key", ""), "HTTP/1.1", "HTTP/1.0", 1) + "\r\n")
	if got := w.answer("GET"); got == nil || got.status != 200 || got.body != "x" || !w.closed() {
		t.Errorf("got %+v", got)
	}
}

func TestQuirk155SlowDown(t *testing.T) {
	s := withBucket(t, func(c *Config) { c.MaxInFlight = 1 })
	w := s.dial()
	w.write(s.signedHeader("PUT", "/bucket/key", unsigned) + "Content-Length: 100000\r\n\r\n" + pattern(10_000))
	waitFor(t, func() bool { return s.inFlight.Load() == 1 })
	s.get("/bucket").want(503, "SlowDown")
	s.head("/bucket").want(503, "")
	w.write(pattern(90_000))
	if got := w.answer("PUT"); got == nil || got.status != 200 {
		t.Fatalf("the first request: %+v", got)
	}
	waitFor(t, func() bool { return s.inFlight.Load() == 0 })
	s.get("/bucket").want(200, "")
}

// TestUnreadableIs503: what cannot be read is a 503, or, once the header is out, a connection that breaks.
func TestUnreadableIs503(t *testing.T) {
	s := withBucket(t)
	body := pattern(10 << 20)
	s.put("/bucket/key", body)
	w := s.dial()
	w.write(s.signedHeader("GET", "/bucket/key", "") + "\r\n")
	response, err := http.ReadResponse(w.r, &http.Request{Method: "GET"})
	if err != nil || response.StatusCode != 200 {
		t.Fatalf("%v, %v", response, err)
	}
	defer response.Body.Close()
	for _, drive := range s.cluster.drives {
		drive.Fail()
	}
	if got, err := io.ReadAll(response.Body); err == nil && string(got) != body {
		t.Errorf("%d of %d bytes without an error", len(got), len(body))
	}
	s.get("/bucket/key").want(503, "ServiceUnavailable")
	s.head("/bucket/key").want(200, "")
	s.do("PUT", "/bucket/other", body).want(503, "ServiceUnavailable")
	s.put("/bucket/small", "kept with its metadata")
}

func TestShutdownFinishesRequests(t *testing.T) {
	s := withBucket(t)
	w := s.dial()
	w.write(s.signedHeader("PUT", "/bucket/key", unsigned) + "Content-Length: 100000\r\n\r\n" + pattern(10_000))
	waitFor(t, func() bool { return s.inFlight.Load() == 1 })
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		done <- s.Shutdown(ctx)
	}()
	waitFor(t, func() bool { return s.draining.Load() })
	w.write(pattern(90_000))
	got := w.answer("PUT")
	if got == nil || got.status != 200 || !got.last {
		t.Errorf("the request in flight: %+v", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", s.address); err == nil {
		c.Close()
		t.Error("the server still accepts")
	}
}

// TestServeAfterShutdown stops a server before, and while, it begins to serve.
func TestServeAfterShutdown(t *testing.T) {
	serve := func(s *Server) <-chan error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		return served
	}
	ended := func(served <-chan error) {
		t.Helper()
		select {
		case err := <-served:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Serve goes on after Shutdown")
		}
	}
	for range 20 {
		s := newTestServer(t)
		racing := serve(s.Server)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended(racing)
		ended(serve(s.Server))
	}
}

// waitFor polls until the condition holds.
func waitFor(t testing.TB, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatal("the condition did not come about")
		}
		time.Sleep(time.Millisecond)
	}
}
