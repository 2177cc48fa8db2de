package rpc

import (
	"context"
	"fmt"
	"net"
)

// prover makes connections trusted, at either end.
type prover struct {
	plain     func(remote net.Addr) bool
	challenge *challenger
	tls       *transport
}

func newProver(cfg Config) (*prover, error) {
	t, err := newTransport(cfg.Secret, cfg.Self, cfg.MaxVersion)
	if err != nil {
		return nil, err
	}
	return &prover{
		plain:     cfg.Plain,
		challenge: &challenger{key: cfg.Secret.Key(handshakePurpose), self: cfg.Self, newest: cfg.MaxVersion},
		tls:       t,
	}, nil
}

// dial shakes hands as the client. ctx bounds it, and closes the connection when it ends.
func (p *prover) dial(ctx context.Context, raw net.Conn) (*conn, error) {
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	c := newConn(raw)
	err := p.dialConn(ctx, c)
	if !stop() {
		return nil, ctx.Err()
	}
	return c, err
}

func (p *prover) dialConn(ctx context.Context, c *conn) error {
	if p.plain(c.raw.RemoteAddr()) {
		return p.challenge.dial(c)
	}
	return p.tls.dial(ctx, c)
}

// accept shakes hands as the server. Only who may be plain is asked for less than TLS.
func (p *prover) accept(ctx context.Context, raw net.Conn) (*conn, error) {
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	c := newConn(raw)
	err := p.acceptConn(ctx, c)
	if !stop() {
		return nil, ctx.Err()
	}
	return c, err
}

func (p *prover) acceptConn(ctx context.Context, c *conn) error {
	if err := c.fill(1); err != nil {
		return err
	}
	switch first := c.buf[c.start]; {
	case first == firstByteTLS:
		return p.tls.accept(ctx, c)
	case first == magic[0] && p.plain(c.raw.RemoteAddr()):
		return p.challenge.accept(c)
	default:
		return fmt.Errorf("%w: first byte %#02x", ErrFormat, first)
	}
}
