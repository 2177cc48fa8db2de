package raftgroup

import (
	"context"
	"io"

	"go.etcd.io/raft/v3/raftpb"
)

// Envelope is a Raft message of one group. Messages are shared between hosts and never changed.
type Envelope struct {
	Group   uint32
	Message *raftpb.Message
}

// Transport carries messages between hosts. It may lose, delay, repeat and reorder them.
type Transport interface {
	// Register makes host reachable under its id until Unregister.
	Register(id uint64, host Receiver) error
	Unregister(id uint64)
	// Send hands batch to the peer to. It does not block and keeps no reference to the slice. It fails with
	// ErrUnreachable if it knows that the batch is lost.
	Send(from, to uint64, batch []Envelope) error
	// OpenSnapshot pins the state of group at the peer and streams it.
	OpenSnapshot(ctx context.Context, from, to uint64, group uint32) (SnapshotReader, error)
}

// TermSource is what a Transport offers whose peers are in the same process. TermOf returns the newest term of
// group that the peer may have voted in: the peer raises it before a message of that term can leave it.
// It returns false unless the peer is registered and reachable.
type TermSource interface {
	TermOf(from, peer uint64, group uint32) (uint64, bool)
}

// TermAsker is what a Transport offers whose peers are in other processes. AskTerms returns what TermOf would, for all
// groups by number, as of some moment after the call began.
type TermAsker interface {
	AskTerms(ctx context.Context, peer uint64) ([]uint64, error)
}

// Receiver is the side of a Host that a Transport calls. No method blocks for long.
type Receiver interface {
	// Receive takes messages over. It fails with ErrUnreachable if the host takes no more.
	Receive(batch []Envelope) error
	// PeerGone says that a peer was unregistered: it need not be waited for.
	PeerGone(id uint64)
	// Groups is how many groups the host has, Term what TermSource.TermOf returns to others.
	Groups() int
	Term(group uint32) uint64
	// PinSnapshot pins the state of a group for a transfer.
	PinSnapshot(group uint32) (Snapshot, error)
}

// SnapshotReader streams a state from a peer. Position is known from the start.
type SnapshotReader interface {
	Position() Position
	io.ReadCloser
}
