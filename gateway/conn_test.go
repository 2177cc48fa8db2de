package gateway

import (
	"fmt"
	"io"
	"testing"
	"time"
)

// A connection that a client opened in advance ends without a word: an answer would be taken for that of its first request.
func TestUnusedConnectionEndsSilently(t *testing.T) {
	s := newTestServer(t, func(c *Config) { c.HeaderTimeout = 100 * time.Millisecond })
	w := s.dial()
	if err := w.Conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(w.Conn); len(got) > 0 || err != nil {
		t.Errorf("an unused connection was told %q, %v", got, err)
	}
}

// A client that sends a large body without asking first learns why it is refused: a reset while it still writes would be what
// ends its request if it writes before it looks for an answer.
func TestLargeRefusedBodyIsRead(t *testing.T) {
	s := withBucket(t)
	w := s.dial()
	const size = 40 << 20
	w.write(fmt.Sprintf("PUT /bucket/key HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size))
	if n, err := w.Conn.Write(make([]byte, size)); err != nil {
		t.Fatalf("after %d bytes: %v", n, err)
	}
	got := w.answer("PUT")
	if got == nil {
		t.Fatal("the refusal did not arrive")
	}
	got.want(403, "AccessDenied")
}
