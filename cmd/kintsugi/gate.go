package main

import (
	"context"
	"sync/atomic"

	"kintsugi/meta"
	"kintsugi/meta/metarpc"
)

// gate is the metadata of a process that may not know its cluster yet: closed, nothing can be reached.
type gate struct {
	way atomic.Pointer[metarpc.Client]
}

func (g *gate) open(c *metarpc.Client) { g.way.Store(c) }

// Groups implements meta.Consensus.
func (g *gate) Groups() int {
	if c := g.way.Load(); c != nil {
		return c.Groups()
	}
	return 1
}

// Propose implements meta.Consensus.
func (g *gate) Propose(ctx context.Context, group int, cmd []byte) (any, error) {
	if c := g.way.Load(); c != nil {
		return c.Propose(ctx, group, cmd)
	}
	return nil, meta.ErrUnavailable
}

// Query implements meta.Consensus.
func (g *gate) Query(ctx context.Context, group int, q any, consistency meta.Consistency) (any, error) {
	if c := g.way.Load(); c != nil {
		return c.Query(ctx, group, q, consistency)
	}
	return nil, meta.ErrUnavailable
}
