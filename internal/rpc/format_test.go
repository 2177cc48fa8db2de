package rpc

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// frames are one of each kind.
var frames = []struct {
	header header
	head   string
	body   string
}{
	{header{kind: kindCall, method: 0x1234, waitMS: 60_000}, "question", "body"},
	{header{kind: kindCall, method: 1}, "", ""},
	{header{kind: kindOneWay, method: 16}, "log entries", ""},
	{header{kind: kindAnswer}, "answer", "data"},
	{header{kind: kindError, status: 0x0104}, "why", ""},
	{header{kind: kindStream}, "of what", ""},
	{header{kind: kindPiece}, "", "a piece"},
	{header{kind: kindEnd}, "", ""},
	{header{kind: kindAbort, status: 1}, "disk", ""},
}

// encodeFrames returns all frames in a version.
func encodeFrames(version uint8) []byte {
	var p []byte
	for _, f := range frames {
		f.header.headSize, f.header.bodySize = len(f.head), len(f.body)
		p = appendHeader(p, version, f.header, []byte(f.head))
		p = append(append(p, f.head...), f.body...)
	}
	return p
}

// Releases that speak a version must go on writing and reading these bytes.
func TestFramesStayTheSame(t *testing.T) {
	for version := uint8(versionOldest); version <= versionNewest; version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			golden := filepath.Join("testdata", fmt.Sprintf("frames.v%d.hex", version))
			text := hex.Dump(encodeFrames(version))
			if *update {
				if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if text != string(want) {
				t.Errorf("got\n%swant\n%s", text, want)
			}
		})
	}
}

func TestHeaderAndHeadComeBack(t *testing.T) {
	for version := uint8(versionOldest); version <= versionNewest; version++ {
		rest := encodeFrames(version)
		size := headerSize(version)
		for _, f := range frames {
			got, err := parseHeader(version, rest[:size])
			if err != nil {
				t.Fatal(err)
			}
			want := f.header
			want.headSize, want.bodySize = len(f.head), len(f.body)
			if got != want {
				t.Errorf("version %d: got %+v, want %+v", version, got, want)
			}
			head := rest[size : size+got.headSize]
			if err := verifyHead(version, rest[:size], head); err != nil || string(head) != f.head {
				t.Errorf("version %d: head %q, %v", version, head, err)
			}
			rest = rest[size+got.headSize+got.bodySize:]
		}
	}
}

func TestDamagedHeaders(t *testing.T) {
	good := encodeFrames(version2)[:headerSize2+len(frames[0].head)]
	cases := []struct {
		name   string
		change func(p []byte)
	}{
		{"version", func(p []byte) { p[0] = 1 }},
		{"version 0", func(p []byte) { p[0] = 0 }},
		{"kind 0", func(p []byte) { p[1] = 0 }},
		{"kind 9", func(p []byte) { p[1] = byte(kindLast) + 1 }},
		{"method", func(p []byte) { p[2]++ }},
		{"status", func(p []byte) { p[5]++ }},
		{"reserved", func(p []byte) { p[7] = 1 }},
		{"deadline", func(p []byte) { p[8]++ }},
		{"head too long", func(p []byte) { p[15] = 1 }},
		{"body too long", func(p []byte) { p[19] = 0xff }},
		{"body of another length", func(p []byte) { p[16]++ }},
		{"checksum", func(p []byte) { p[20]++ }},
		{"head", func(p []byte) { p[headerSize2]++ }},
	}
	for _, tc := range cases {
		p := bytes.Clone(good)
		tc.change(p)
		_, err := parseHeader(version2, p)
		if err == nil {
			err = verifyHead(version2, p[:headerSize2], p[headerSize2:])
		}
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, want %v", tc.name, err, ErrFormat)
		}
	}
}

// What is accepted is what would be written.
func FuzzHeader(f *testing.F) {
	f.Add(uint8(version1), encodeFrames(version1))
	f.Add(uint8(version2), encodeFrames(version2))
	f.Fuzz(func(t *testing.T, version uint8, p []byte) {
		if version < versionOldest || version > versionNewest || len(p) < headerSize(version) {
			return
		}
		size := headerSize(version)
		h, err := parseHeader(version, p[:size])
		if err != nil || size+h.headSize > len(p) {
			return
		}
		head := p[size : size+h.headSize]
		if verifyHead(version, p[:size], head) != nil {
			return
		}
		if got := appendHeader(nil, version, h, head); !bytes.Equal(got, p[:size]) {
			t.Errorf("read % x, wrote % x", p[:size], got)
		}
	})
}

func FuzzHandshake(f *testing.F) {
	id := Identity{Node: "node", Roles: Gateway | Meta, Incarnation: 1 << 60}
	f.Add(hello{oldest: 1, newest: 2, from: id}.append(nil))
	f.Add(challenge{version: 2, from: id}.append(nil))
	f.Add(appendIdentity(nil, id))
	f.Fuzz(func(t *testing.T, p []byte) {
		if h, err := parseHello(p); err == nil && !bytes.Equal(h.append(nil), p) {
			t.Errorf("hello %+v of % x", h, p)
		}
		if c, err := parseChallenge(p); err == nil && !bytes.Equal(c.append(nil), p) {
			t.Errorf("challenge %+v of % x", c, p)
		}
		if id, err := parseIdentity(p); err == nil && !bytes.Equal(appendIdentity(nil, id), p) {
			t.Errorf("identity %+v of % x", id, p)
		}
	})
}

// FuzzServer gives a server whose caller is proven any bytes: it must neither crash nor hang.
func FuzzServer(f *testing.F) {
	for version := uint8(versionOldest); version <= versionNewest; version++ {
		f.Add(version, encodeFrames(version))
		f.Add(version, encodeFrames(version)[:30])
	}
	srv, err := NewServer(config(newSecret(f), "server", Storage))
	if err != nil {
		f.Fatal(err)
	}
	srv.Handle(frames[0].header.method, Gateway, echo)
	srv.Handle(frames[1].header.method, Gateway, streamBody)
	srv.Handle(frames[2].header.method, Gateway, func(context.Context, *Request) error { return nil })
	f.Fuzz(func(t *testing.T, version uint8, p []byte) {
		if version < versionOldest || version > versionNewest {
			return
		}
		near, far := net.Pipe()
		go io.Copy(io.Discard, near)
		c := newConn(script{far, bytes.NewReader(p)})
		c.ready(version, Identity{Node: "fuzz", Roles: Gateway})
		srv.calls(c)
		near.Close()
	})
}

// script is a connection on which given bytes come.
type script struct {
	net.Conn
	in io.Reader
}

func (s script) Read(p []byte) (int, error) { return s.in.Read(p) }
