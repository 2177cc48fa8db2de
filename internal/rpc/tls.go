package rpc

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kintsugi/internal/secret"
)

// Every process derives the same certificate authority from the cluster secret and signs with it a certificate for
// a key of its own, which never leaves the process. The certificate says who it is in a URI "kintsugi:" and the
// identity in hex (handshake.go). The server name is derived from the secret, too: a server answers only who
// asks by that name, and what it is called by outside does not matter. The version of the wire format is
// negotiated as the application protocol, "kintsugi/1" and so on.
const (
	authorityPurpose  = "rpc certificate authority 1"
	serverNamePurpose = "rpc server name 1"
	identityScheme    = "kintsugi"
	protocolPrefix    = "kintsugi/"
	// certificateSkew is by how much clocks may differ; a certificate proves the secret, not a date.
	certificateSkew = 24 * time.Hour
	certificateLife = 100 * 365 * 24 * time.Hour
)

// transport has the TLS configurations of both directions.
type transport struct {
	client, server *tls.Config
	serverName     string
	spare          sync.Pool // of gatherConn
}

func newTransport(s *secret.Secret, self Identity, newest uint8) (*transport, error) {
	serverName := hex.EncodeToString(s.Bytes(serverNamePurpose, 16)) + ".kintsugi.internal"
	authority, key, err := newAuthority(s)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	own, err := newCertificate(authority, key, self, serverName)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	base := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{own},
		NextProtos:             protocols(newest),
		SessionTicketsDisabled: true,
		// Records of full size from the start: small ones are for browsers that render what has come so far.
		DynamicRecordSizingDisabled: true,
	}
	client, server := base.Clone(), base.Clone()
	client.RootCAs, client.ServerName = pool, serverName
	server.ClientCAs, server.ClientAuth = pool, tls.RequireAndVerifyClientCert
	t := &transport{client: client, server: server, serverName: serverName}
	t.spare.New = func() any {
		p := make([]byte, 0, gatherSize)
		return &p
	}
	return t, nil
}

// protocols are the names of all versions, the newest first.
func protocols(newest uint8) []string {
	var names []string
	for v := newest; v >= versionOldest; v-- {
		names = append(names, protocolPrefix+strconv.Itoa(int(v)))
	}
	return names
}

// newAuthority derives the authority: all processes of the cluster get the same bytes.
func newAuthority(s *secret.Secret) (*x509.Certificate, ed25519.PrivateKey, error) {
	key := ed25519.NewKeyFromSeed(s.Bytes(authorityPurpose, ed25519.SeedSize))
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "kintsugi cluster"},
		NotBefore:             time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	authority, err := x509.ParseCertificate(der)
	return authority, key, err
}

func newCertificate(authority *x509.Certificate, signer ed25519.PrivateKey, self Identity, serverName string) (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial := make([]byte, 16)
	rand.Read(serial)
	serial[0] |= 0x40 // positive and never short
	serial[0] &= 0x7f
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		NotBefore:    time.Now().Add(-certificateSkew),
		NotAfter:     time.Now().Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{serverName},
		URIs:         []*url.URL{{Scheme: identityScheme, Opaque: hex.EncodeToString(appendIdentity(nil, self))}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, public, signer)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, err
}

// dial is the client's side of a TLS connection.
func (t *transport) dial(ctx context.Context, c *conn) error {
	c.records = &gatherConn{Conn: c.raw, spare: &t.spare}
	return t.finish(ctx, c, tls.Client(c.records, t.client))
}

// accept is the server's side. Of the connection, c.buf has been read ahead.
func (t *transport) accept(ctx context.Context, c *conn) error {
	quiet := &quietConn{Conn: c.raw, ahead: append([]byte(nil), c.buf[c.start:c.end]...)}
	c.start, c.end = 0, 0
	config := t.server.Clone()
	config.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		if info.ServerName != t.serverName {
			return nil, errors.New("another server name")
		}
		quiet.known.Store(true)
		return nil, nil
	}
	c.records = &gatherConn{Conn: quiet, spare: &t.spare}
	return t.finish(ctx, c, tls.Server(c.records, config))
}

func (t *transport) finish(ctx context.Context, c *conn, secured *tls.Conn) error {
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	state := secured.ConnectionState()
	number, found := strings.CutPrefix(state.NegotiatedProtocol, protocolPrefix)
	version, err := strconv.ParseUint(number, 10, 8)
	if !found || err != nil {
		return fmt.Errorf("%w: protocol %q", ErrFormat, state.NegotiatedProtocol)
	}
	peer, err := certifiedIdentity(state.PeerCertificates)
	if err != nil {
		return err
	}
	c.rw = secured
	c.ready(uint8(version), peer)
	return nil
}

// certifiedIdentity reads the identity of a verified chain.
func certifiedIdentity(chain []*x509.Certificate) (Identity, error) {
	if len(chain) == 0 || len(chain[0].URIs) != 1 || chain[0].URIs[0].Scheme != identityScheme {
		return Identity{}, fmt.Errorf("%w: no identity in the certificate", ErrRefused)
	}
	encoded, err := hex.DecodeString(chain[0].URIs[0].Opaque)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: identity in the certificate", ErrFormat)
	}
	return parseIdentity(encoded)
}

// quietConn gives what was read ahead first, and swallows what is written, alerts of TLS, until the client is known to have
// the secret.
type quietConn struct {
	net.Conn
	ahead []byte
	known atomic.Bool
}

func (q *quietConn) Read(p []byte) (int, error) {
	if len(q.ahead) == 0 {
		return q.Conn.Read(p)
	}
	n := copy(p, q.ahead)
	q.ahead = q.ahead[n:]
	return n, nil
}

func (q *quietConn) Write(p []byte) (int, error) {
	if !q.known.Load() {
		return len(p), nil
	}
	return q.Conn.Write(p)
}
