package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/internal/secret"
)

// Role is what a process does: a set of bits. A method says which roles may call it.
type Role uint8

const (
	Gateway Role = 1 << iota
	Storage
	Meta
	Admin // the command line of an operator
)

// Names are those of the commands that run the roles of a node: an empty list, not nil, if it has none.
func (r Role) Names() []string {
	names := []string{}
	for _, role := range []struct {
		bit  Role
		name string
	}{{Gateway, "gateway"}, {Storage, "storagenode"}, {Meta, "meta"}} {
		if r&role.bit != 0 {
			names = append(names, role.name)
		}
	}
	return names
}

// Identity is who is at the other end of a connection. It is proven by the cluster secret.
type Identity struct {
	Node        string // its name, unique in the cluster, 1 to MaxName bytes
	Roles       Role
	Incarnation uint64 // random, of the process
}

// MaxName is the longest name of a node, in bytes.
const MaxName = 255

// Method names a call. The numbers are on the wire and never change. Each package that has methods owns a range:
// membership 1-15, raft 16-31, metadata 32-47, shards 48-79, admin 80-95, tests 240 and above.
type Method uint16

// Limits of a frame, in bytes.
const (
	MaxHead = 4 << 20
	MaxBody = 80 << 20
)

// Errors are matched with errors.Is; they come wrapped with the address.
var (
	// ErrUnreachable says that no connection could be made: the call was not sent, or, if it is idempotent, perhaps over
	// an earlier connection that broke.
	ErrUnreachable = errors.New("node unreachable")
	// ErrBroken says that the connection broke: the call may or may not have been executed.
	ErrBroken = errors.New("connection to node broke")
	// ErrRefused says that the other end did not prove that it knows the cluster secret, or that it refuses this caller.
	// The first of these is an ErrUnreachable, too.
	ErrRefused = errors.New("refused: not a member of this cluster, or not allowed")
	// ErrFormat says that what came is not a frame, or of a version that is not known.
	ErrFormat = errors.New("unknown rpc format")
	// ErrTooLarge says that a head or body is over its limit: the call was not sent.
	ErrTooLarge = errors.New("rpc frame too large")
	// ErrClosed says that this end was closed.
	ErrClosed = errors.New("rpc closed")
)

// Codes of a StatusError that this package sets. Refusals come as ErrRefused and CodeDeadline as context.DeadlineExceeded instead.
const (
	CodeInternal uint16 = 1 // the handler failed in a way that it did not expect, or panicked
	CodeMethod   uint16 = 2 // the other end, perhaps of another release, has no such method
	codeRefused  uint16 = 3
	codeDeadline uint16 = 4
)

// StatusError is a failure that the handler reports. What Code and Detail mean is up to the package of the method.
// Codes below 16 are of this package.
type StatusError struct {
	Code   uint16
	Detail []byte
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %.200q", e.Code, e.Detail) }

// Call is a request.
type Call struct {
	Method Method
	Head   []byte // in the encoding of the method's package
	Body   []byte // sent behind the head without being copied
	// Into takes the body of the answer, which must then have exactly this length. With nil one is allocated.
	Into []byte
	// Idempotent lets the call be sent again over a new connection when a pooled one turns out to be broken
	// before a byte of the answer came.
	Idempotent bool
}

// Reply is the answer to a Call.
type Reply struct {
	Head []byte
	Body []byte // Call.Into, if that was given
}

// Config of a Client or Server.
type Config struct {
	Self   Identity
	Secret *secret.Secret
	// Dial opens a connection, in production a TCP one. Nil: that.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Plain tells by the address of the other end whether a connection is proven by challenge-response and stays
	// unencrypted. Nil: TCP on loopback, where nobody but this host listens.
	Plain func(remote net.Addr) bool
	// DialTimeout bounds dialling and the handshake; 0 means 2 s.
	DialTimeout time.Duration
	// MaxVersion of the wire format to offer and accept; 0 means the newest. Lower ones are for tests of mixed releases.
	MaxVersion uint8
	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
}

const defaultDialTimeout = 2 * time.Second

// complete checks the configuration and fills in what was left out.
func (c *Config) complete() error {
	switch {
	case c.Secret == nil:
		return errors.New("rpc: no cluster secret")
	case c.Self.Node == "" || len(c.Self.Node) > MaxName:
		return fmt.Errorf("rpc: a node's name has 1 to %d bytes, not %d", MaxName, len(c.Self.Node))
	case c.MaxVersion > versionNewest:
		return fmt.Errorf("rpc: version %d is not known", c.MaxVersion)
	}
	if c.MaxVersion == 0 {
		c.MaxVersion = versionNewest
	}
	if c.Dial == nil {
		c.Dial = dialTCP
	}
	if c.Plain == nil {
		c.Plain = loopback
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = defaultDialTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func loopback(remote net.Addr) bool {
	tcp, ok := remote.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
