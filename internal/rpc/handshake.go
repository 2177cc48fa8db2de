package rpc

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
)

// The handshake of a connection without TLS. Both ends prove that they know the cluster secret, over nonces of
// both, so that nothing recorded is worth anything on another connection. The client proves first: who does not
// know the secret gets no answer at all. Little endian:
//
//	hello, client to server:
//	0:3       magic b1 'k' 'r'
//	3         form of the handshake, 1
//	4         oldest version of the wire format that the client speaks
//	5         newest
//	6:38      nonce
//	38:48+n   identity of the client
//	...       MAC of "client hello" and all before
//
//	challenge, server to client:
//	0         version chosen
//	1:33      nonce
//	33:43+n   identity of the server
//	...       MAC of "server challenge", the hello and all before
//
//	proof, client to server:
//	0:32      MAC of "client proof", the hello and the challenge
//
//	identity:
//	0         roles
//	1:9       incarnation
//	9         length n of the name
//	10:10+n   name
//
// A MAC is HMAC-SHA256 with the cluster's key for this purpose. The first byte of a TLS connection is 0x16.
const (
	magic            = "\xb1kr"
	handshakeForm    = 1
	nonceSize        = 32
	macSize          = sha256.Size
	identityFixed    = 10
	helloFixed       = 6 + nonceSize + identityFixed
	challengeFixed   = 1 + nonceSize + identityFixed
	firstByteTLS     = 0x16
	handshakePurpose = "rpc handshake 1"
)

func appendIdentity(dst []byte, id Identity) []byte {
	dst = append(dst, byte(id.Roles))
	dst = binary.LittleEndian.AppendUint64(dst, id.Incarnation)
	dst = append(dst, byte(len(id.Node)))
	return append(dst, id.Node...)
}

// parseIdentity takes exactly p.
func parseIdentity(p []byte) (Identity, error) {
	if len(p) < identityFixed || len(p) != identityFixed+int(p[9]) || p[9] == 0 {
		return Identity{}, fmt.Errorf("%w: identity", ErrFormat)
	}
	return Identity{
		Roles:       Role(p[0]),
		Incarnation: binary.LittleEndian.Uint64(p[1:]),
		Node:        string(p[identityFixed:]),
	}, nil
}

// hello is the client's first message.
type hello struct {
	oldest, newest uint8
	nonce          [nonceSize]byte
	from           Identity
}

func (h hello) append(dst []byte) []byte {
	dst = append(append(dst, magic...), handshakeForm, h.oldest, h.newest)
	return appendIdentity(append(dst, h.nonce[:]...), h.from)
}

// parseHello takes a hello without its MAC.
func parseHello(p []byte) (hello, error) {
	if len(p) < helloFixed || string(p[:3]) != magic || p[3] != handshakeForm || p[4] > p[5] {
		return hello{}, fmt.Errorf("%w: hello", ErrFormat)
	}
	from, err := parseIdentity(p[6+nonceSize:])
	return hello{oldest: p[4], newest: p[5], nonce: [nonceSize]byte(p[6:]), from: from}, err
}

// challenge is the server's answer.
type challenge struct {
	version uint8
	nonce   [nonceSize]byte
	from    Identity
}

func (c challenge) append(dst []byte) []byte {
	dst = append(append(dst, c.version), c.nonce[:]...)
	return appendIdentity(dst, c.from)
}

// parseChallenge takes a challenge without its MAC.
func parseChallenge(p []byte) (challenge, error) {
	if len(p) < challengeFixed {
		return challenge{}, fmt.Errorf("%w: challenge", ErrFormat)
	}
	from, err := parseIdentity(p[1+nonceSize:])
	return challenge{version: p[0], nonce: [nonceSize]byte(p[1:]), from: from}, err
}

// chooseVersion returns the newest that both ends speak, or 0.
func chooseVersion(oldest, newest, mine uint8) uint8 {
	version := min(newest, mine)
	if version < oldest || version < versionOldest {
		return 0
	}
	return version
}

// challenger proves and checks with the key of the cluster.
type challenger struct {
	key    [32]byte
	self   Identity
	newest uint8
}

// mac sums up parts under a label, which tells direction and step, so that no message can stand in for another.
func (a *challenger) mac(label string, parts ...[]byte) []byte {
	var h hash.Hash = hmac.New(sha256.New, a.key[:])
	h.Write([]byte{byte(len(label))})
	h.Write([]byte(label))
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

const (
	labelHello     = "client hello"
	labelChallenge = "server challenge"
	labelProof     = "client proof"
)

// dial is the client's side. It ends with c ready for calls.
func (a *challenger) dial(c *conn) error {
	mine := hello{oldest: versionOldest, newest: a.newest, from: a.self}
	rand.Read(mine.nonce[:])
	sent := mine.append(nil)
	sent = append(sent, a.mac(labelHello, sent)...)
	if _, err := c.raw.Write(sent); err != nil {
		return err
	}
	got, err := a.receive(c, challengeFixed, labelChallenge, sent)
	if err != nil {
		return err
	}
	theirs, err := parseChallenge(got[:len(got)-macSize])
	if err != nil {
		return err
	}
	if chooseVersion(versionOldest, a.newest, theirs.version) != theirs.version {
		return fmt.Errorf("%w: version %d", ErrFormat, theirs.version)
	}
	if _, err := c.raw.Write(a.mac(labelProof, sent, got)); err != nil {
		return err
	}
	c.ready(theirs.version, theirs.from)
	return nil
}

// accept is the server's side.
func (a *challenger) accept(c *conn) error {
	got, err := a.receive(c, helloFixed, labelHello)
	if err != nil {
		return err
	}
	theirs, err := parseHello(got[:len(got)-macSize])
	if err != nil {
		return err
	}
	version := chooseVersion(theirs.oldest, theirs.newest, a.newest)
	if version == 0 {
		return fmt.Errorf("%w: versions %d to %d", ErrFormat, theirs.oldest, theirs.newest)
	}
	mine := challenge{version: version, from: a.self}
	rand.Read(mine.nonce[:])
	sent := mine.append(nil)
	sent = append(sent, a.mac(labelChallenge, got, sent)...)
	if _, err := c.raw.Write(sent); err != nil {
		return err
	}
	var proof [macSize]byte
	if err := c.readFull(proof[:]); err != nil {
		return err
	}
	if !hmac.Equal(proof[:], a.mac(labelProof, got, sent)) {
		return fmt.Errorf("%w: proof", ErrRefused)
	}
	c.ready(version, theirs.from)
	return nil
}

// receive reads a message that ends with an identity and a MAC, and checks the MAC, which goes over before, too.
func (a *challenger) receive(c *conn, fixed int, label string, before ...[]byte) ([]byte, error) {
	p := make([]byte, fixed, fixed+MaxName+macSize)
	if err := c.readFull(p); err != nil {
		return nil, err
	}
	p = p[:fixed+int(p[fixed-1])+macSize]
	if err := c.readFull(p[fixed:]); err != nil {
		return nil, err
	}
	end := len(p) - macSize
	if !hmac.Equal(p[end:], a.mac(label, append(before, p[:end])...)) {
		return nil, fmt.Errorf("%w: %s", ErrRefused, label)
	}
	return p, nil
}
