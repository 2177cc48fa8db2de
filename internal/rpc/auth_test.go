package rpc

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// recorder keeps what a client sent over each of its connections.
type recorder struct {
	net.Conn
	sent *bytes.Buffer
}

func (r recorder) Write(p []byte) (int, error) {
	r.sent.Write(p)
	return r.Conn.Write(p)
}

// record returns all that a member sent for one call.
func record(t *testing.T, s *server, cfg Config) []byte {
	t.Helper()
	var sent bytes.Buffer
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		raw, err := dialTCP(ctx, addr)
		return recorder{raw, &sent}, err
	}
	c := startClient(t, cfg)
	if _, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho}); err != nil {
		t.Fatal(err)
	}
	return sent.Bytes()
}

// A stranger gets no byte. What a member sent is of no use to who recorded it.
func TestStrangersLearnNothing(t *testing.T) {
	s := newSecret(t)
	short := func(c *Config) { c.DialTimeout = 2 * time.Second }
	plainConfig, tlsConfig := config(s, "server", Storage), config(s, "server", Storage)
	short(&plainConfig)
	short(&tlsConfig)
	encrypted(&tlsConfig)
	plainServer, tlsServer := startServer(t, plainConfig), startServer(t, tlsConfig)
	tlsClient := config(s, "client", Gateway)
	encrypted(&tlsClient)
	noise := make([]byte, 4096)
	rand.Read(noise)
	noise[0] = magic[0] // else it ends with the first byte
	plainHello := record(t, plainServer, config(s, "client", Gateway))
	tlsHello := record(t, tlsServer, tlsClient)
	damaged := bytes.Clone(plainHello)
	damaged[6] ^= 1

	cases := []struct {
		name string
		addr string
		send []byte
	}{
		{"silence", plainServer.addr, nil},
		{"HTTP", plainServer.addr, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"HTTP/2", plainServer.addr, []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
		{"SSH", plainServer.addr, []byte("SSH-2.0-x\r\n")},
		{"noise behind the magic", plainServer.addr, noise},
		{"noise", plainServer.addr, noise[1:]},
		{"TLS record of noise", plainServer.addr, append([]byte{0x16, 3, 1, 1, 0}, noise...)},
		{"half a hello", plainServer.addr, plainHello[:40]},
		{"hello with another nonce", plainServer.addr, damaged},
		{"member without TLS from elsewhere", tlsServer.addr, plainHello},
		{"TLS of HTTPS", tlsServer.addr, clientHello(t, &tls.Config{ServerName: "example.com"})},
		{"TLS without a name", tlsServer.addr, clientHello(t, &tls.Config{InsecureSkipVerify: true})},
		{"half a TLS hello", tlsServer.addr, tlsHello[:100]},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := talk(t, tc.addr, tc.send); len(got) > 0 {
				t.Errorf("a stranger got %d bytes: % x", len(got), got[:min(len(got), 64)])
			}
		})
	}
	t.Run("replay", func(t *testing.T) {
		t.Parallel()
		// The hello alone is good; the proof is for another nonce. What comes back is the challenge.
		if got := talk(t, plainServer.addr, plainHello); len(got) != challengeFixed+len("server")+macSize {
			t.Errorf("got %d bytes", len(got))
		}
	})
}

// clientHello is what a TLS client sends first.
func clientHello(t *testing.T, cfg *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() {
		tls.Client(near, cfg).Handshake()
		near.Close()
	}()
	p := make([]byte, 16<<10)
	n, err := far.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	far.Close()
	return p[:n]
}

// talk sends bytes and returns all that comes until the server closes the connection, which it must.
func talk(t *testing.T, addr string, send []byte) []byte {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := raw.Write(send); err != nil {
		t.Log(err) // closed meanwhile
	}
	got, err := io.ReadAll(raw)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Error("the connection of a stranger is still open")
	}
	return got
}

func TestOtherSecretIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){"plain": func(*Config) {}, "TLS": encrypted} {
		t.Run(name, func(t *testing.T) {
			serverConfig, clientConfig := config(newSecret(t), "server", Storage), config(newSecret(t), "client", Gateway)
			change(&serverConfig)
			change(&clientConfig)
			s, c := startServer(t, serverConfig), startClient(t, clientConfig)
			_, err := c.Do(testContext(t), s.addr, &Call{Method: methodEcho})
			if !errors.Is(err, ErrRefused) || !errors.Is(err, ErrUnreachable) {
				t.Errorf("Do: got %v", err)
			}
			if _, err = c.Stream(testContext(t), s.addr, methodOneWay); !errors.Is(err, ErrRefused) {
				t.Errorf("Stream: got %v", err)
			}
			if n := connections(c, s.addr); n != 0 {
				t.Errorf("%d connections left", n)
			}
		})
	}
}

// Who knows the server's name, which is visible on the wire, still needs a certificate of the cluster.
func TestTLSNeedsACertificateOfTheCluster(t *testing.T) {
	cfg := config(newSecret(t), "server", Storage)
	encrypted(&cfg)
	s := startServer(t, cfg)
	other, err := newTransport(newSecret(t), Identity{Node: "evil", Roles: Meta}, versionNewest)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name         string
		certificates []tls.Certificate
		maxVersion   uint16
		protocols    []string
	}{
		{"none", nil, 0, protocols(versionNewest)},
		{"of another cluster", other.client.Certificates, 0, protocols(versionNewest)},
		{"TLS 1.2", s.prover.tls.client.Certificates, tls.VersionTLS12, protocols(versionNewest)},
		{"other protocol", s.prover.tls.client.Certificates, 0, []string{"h2"}},
		{"no protocol", s.prover.tls.client.Certificates, 0, nil},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			raw, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			secured := tls.Client(raw, &tls.Config{
				ServerName: s.prover.tls.serverName, InsecureSkipVerify: true,
				Certificates: tc.certificates, MaxVersion: tc.maxVersion, NextProtos: tc.protocols,
			})
			secured.SetDeadline(time.Now().Add(20 * time.Second))
			secured.Write(appendHeader(nil, version2, header{kind: kindCall, method: methodEcho}, nil))
			if got, err := io.ReadAll(secured); len(got) > 0 {
				t.Errorf("got % x, %v", got, err)
			}
		})
	}
}

// A server that does not know the secret is not told what the client wants.
func TestFalseServer(t *testing.T) {
	good := newSecret(t)
	evil, err := newTransport(newSecret(t), Identity{Node: "server", Roles: Storage}, versionNewest)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		answer func(net.Conn)
	}{
		"echo":  {func(*Config) {}, func(raw net.Conn) { io.Copy(raw, raw) }},
		"noise": {func(*Config) {}, func(raw net.Conn) { raw.Write(pattern(1000)) }},
		"TLS":   {encrypted, func(raw net.Conn) { tls.Server(raw, evil.server).Handshake() }},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					raw, err := l.Accept()
					if err != nil {
						return
					}
					tc.answer(raw)
					raw.Close()
				}
			}()
			cfg := config(good, "client", Gateway)
			tc.change(&cfg)
			c := startClient(t, cfg)
			if _, err := c.Do(testContext(t), l.Addr().String(), &Call{Method: methodEcho}); !errors.Is(err, ErrRefused) {
				t.Errorf("got %v, want %v", err, ErrRefused)
			}
		})
	}
}

func TestServerKnowsItsCaller(t *testing.T) {
	transports(t, func(t *testing.T, change func(*Config)) {
		s := newSecret(t)
		serverConfig, clientConfig := config(s, "server", Storage), config(s, "gateway \x00 ü", Gateway|Admin)
		if change != nil {
			change(&serverConfig)
			change(&clientConfig)
		}
		srv, err := NewServer(serverConfig)
		if err != nil {
			t.Fatal(err)
		}
		from := make(chan Identity, 1)
		srv.Handle(methodEcho, Admin, func(_ context.Context, r *Request) error {
			from <- r.From
			return nil
		})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serve(t, srv, l)
		if _, err := startClient(t, clientConfig).Do(testContext(t), l.Addr().String(), &Call{Method: methodEcho}); err != nil {
			t.Fatal(err)
		}
		if got := <-from; got != clientConfig.Self {
			t.Errorf("got %+v, want %+v", got, clientConfig.Self)
		}
	})
}

func TestOnlySoManyStrangers(t *testing.T) {
	cfg := config(newSecret(t), "server", Storage)
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.strangers = make(chan struct{}, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, s, l)
	first, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	start := time.Now()
	talk(t, l.Addr().String(), nil)
	if waited := time.Since(start); waited > cfg.DialTimeout/2 {
		t.Errorf("the second stranger stayed for %v", waited)
	}
}

func TestConfigIsChecked(t *testing.T) {
	s := newSecret(t)
	for name, cfg := range map[string]Config{
		"no secret":       {Self: Identity{Node: "a"}},
		"no name":         {Secret: s},
		"long name":       {Secret: s, Self: Identity{Node: string(make([]byte, MaxName+1))}},
		"unknown version": {Secret: s, Self: Identity{Node: "a"}, MaxVersion: versionNewest + 1},
	} {
		if _, err := NewClient(cfg); err == nil {
			t.Errorf("%s: NewClient takes it", name)
		}
		if _, err := NewServer(cfg); err == nil {
			t.Errorf("%s: NewServer takes it", name)
		}
	}
}
