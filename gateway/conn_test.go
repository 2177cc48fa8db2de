package gateway

import (
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
