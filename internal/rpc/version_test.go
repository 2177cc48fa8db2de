package rpc

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// Releases are mixed while a cluster is upgraded: the two ends agree on what both speak.
func TestMixedVersions(t *testing.T) {
	for name, change := range map[string]func(*Config){"plain": func(*Config) {}, "TLS": encrypted} {
		for _, tc := range []struct{ client, server, want uint8 }{
			{1, 2, 1},
			{2, 1, 1},
			{1, 1, 1},
			{2, 2, 2},
		} {
			t.Run(fmt.Sprintf("%s/client %d, server %d", name, tc.client, tc.server), func(t *testing.T) {
				s := newSecret(t)
				serverConfig, clientConfig := config(s, "server", Storage), config(s, "client", Gateway)
				serverConfig.MaxVersion, clientConfig.MaxVersion = tc.server, tc.client
				change(&serverConfig)
				change(&clientConfig)
				testVersion(t, startServer(t, serverConfig), startClient(t, clientConfig), tc.want)
			})
		}
	}
}

func testVersion(t *testing.T, s *server, c *Client, want uint8) {
	head, body := pattern(300), pattern(30_000)
	reply, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho, Head: head, Body: body})
	if err != nil || !bytes.Equal(reply.Head, head) || !bytes.Equal(reply.Body, body) {
		t.Fatalf("call: %v", err)
	}
	_, r, err := c.Open(testContext(t), s.addr, &Call{Method: methodStream, Body: body})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("stream: %v", err)
	}
	p, err := c.peer(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	l := p.takeIdle()
	if l == nil || l.version != want {
		t.Fatalf("got %+v, want version %d", l, want)
	}
	p.putIdle(l)
	stream, err := c.Stream(testContext(t), s.addr, methodOneWay)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(testContext(t), []byte("h"), []byte("b")); err != nil || <-s.oneWay != "h/b" {
		t.Fatalf("one-way: %v", err)
	}
}

func TestChooseVersion(t *testing.T) {
	for _, tc := range []struct {
		name                       string
		oldest, newest, mine, want uint8
	}{
		{"same", 1, 2, 2, 2},
		{"the client is older", 1, 1, 2, 1},
		{"the client is newer", 1, 9, 2, 2},
		{"the client has forgotten mine", 3, 9, 2, 0},
		{"the client knows only what is forgotten", 0, 0, 2, 0},
	} {
		if got := chooseVersion(tc.oldest, tc.newest, tc.mine); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}
