package metarpc

import (
	"context"
	"fmt"

	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
)

// Local is the replica of every group in this process. It answers for itself and asks nobody: where only the leader
// can answer it fails with *raftgroup.NotLeaderError.
type Local interface {
	Propose(ctx context.Context, group int, cmd []byte) (any, error)
	Query(ctx context.Context, group int, q any, c meta.Consistency) (any, error)
}

// aloneReader is a Local whose eventual reads are of a replica that knows a leader, as far as Query goes: one that
// does not may have been cut off for long. Where no replica knows one, any must do, and QueryAlone is asked.
type aloneReader interface {
	QueryAlone(ctx context.Context, group int, q any) (any, error)
}

// ask has a Local answer a query.
func ask(ctx context.Context, local Local, h callHeader, q any) (any, error) {
	if l, ok := local.(aloneReader); ok && h.alone {
		return l.QueryAlone(ctx, h.group, q)
	}
	return local.Query(ctx, h.group, q, h.consistency)
}

// Handle adds the methods of this package to s. local returns nil while the process has no replica.
func Handle(s *rpc.Server, local func() Local) {
	s.Handle(MethodPropose, rpc.Gateway|rpc.Meta, func(ctx context.Context, r *rpc.Request) error {
		if r.Size > raftgroup.MaxCommandBytes {
			return faultOf(raftgroup.ErrTooLarge).status()
		}
		cmd := make([]byte, r.Size) // the log keeps it
		if err := r.ReadBody(cmd); err != nil {
			return err
		}
		if err := mayPropose(r.From.Roles, cmd); err != nil {
			return faultOf(err).status()
		}
		head, body, err := propose(ctx, local(), r.Head, cmd)
		if err != nil {
			return faultOf(err).status()
		}
		return r.Reply(head, body)
	})
	s.Handle(MethodQuery, rpc.Gateway|rpc.Storage|rpc.Meta, func(ctx context.Context, r *rpc.Request) error {
		head, body, err := query(ctx, local(), r.Head)
		if err != nil {
			return faultOf(err).status()
		}
		return r.Reply(head, body)
	})
}

// mayPropose refuses what only the coordinator decides, and is where the metadata is: a gateway that was broken into
// must not give the cluster another map.
func mayPropose(from rpc.Role, cmd []byte) error {
	c, err := meta.DecodeCommand(cmd)
	if err != nil {
		return err
	}
	if c.Op == meta.OpSetClusterMap && from&rpc.Meta == 0 {
		return fmt.Errorf("a cluster map from a process without metadata: %w", meta.ErrFormat)
	}
	return nil
}

// propose executes a proposal and returns the answer.
func propose(ctx context.Context, local Local, head, cmd []byte) (answer, body []byte, err error) {
	h, rest, err := parseCall(head)
	if err != nil {
		return nil, nil, err
	}
	if h.query != 0 || len(rest) > 0 {
		return nil, nil, fmt.Errorf("metadata proposal: %w", meta.ErrFormat)
	}
	if local == nil {
		return nil, nil, &raftgroup.NotLeaderError{}
	}
	result, err := local.Propose(ctx, h.group, cmd)
	if err != nil {
		return nil, nil, err
	}
	return encodeResult(result)
}

// query answers a query.
func query(ctx context.Context, local Local, head []byte) (answer, body []byte, err error) {
	h, data, err := parseCall(head)
	if err != nil {
		return nil, nil, err
	}
	q, err := decodeQuery(h.query, data)
	if err != nil {
		return nil, nil, err
	}
	if local == nil {
		return nil, nil, &raftgroup.NotLeaderError{}
	}
	result, err := ask(ctx, local, h, q)
	if err != nil {
		return nil, nil, err
	}
	return encodeResult(result)
}
