package raftgroup

import (
	"io"

	"go.etcd.io/raft/v3/raftpb"
)

// Machine is the state of all groups of one host, kept on its drive. The host calls Apply,
// Sync and Restore from one goroutine; Applied, Snapshot and the machine's own readers may run beside it.
type Machine interface {
	// Applied returns up to where group was executed, durably or not, and the members as of then. A
	// group that the machine has never seen has the zero Position.
	Applied(group uint32) (Position, error)
	// Apply executes the entries, in order, in one atomic transaction with the new positions of their groups,
	// and returns one result per entry. The transaction may be lost by a crash until Sync; it is
	// never torn. A result may be an error: that of the command. An error of Apply itself fails the host.
	Apply(entries []Entry) ([]any, error)
	// Sync makes all that was applied durable. The host calls it before the log is truncated, every few MiB and when it
	// is closed; a machine that has to be synced more often does so within Apply.
	Sync() error
	// Snapshot pins the state of group for a transfer to another host.
	Snapshot(group uint32) (Snapshot, error)
	// Restore replaces the state of group by what a Snapshot wrote. A crash or an error within it leaves a
	// group whose Position is zero.
	Restore(group uint32, at Position, r io.Reader) error
}

// Position is how far a group was executed.
type Position struct {
	Index   uint64
	Term    uint64
	Members *raftpb.ConfState // nil until the first change or snapshot; never mutated
}

// Entry is a committed log entry of a group. Data is empty for one that carries no command;
// Members is set when the entry changed them, and with the first entry after they were set in another way (at
// birth, by force): the machine keeps the last that is not nil in the Position of the group.
type Entry struct {
	Group   uint32
	Index   uint64
	Term    uint64
	Data    []byte
	Members *raftpb.ConfState
}

// Snapshot is a pinned state of one group.
type Snapshot interface {
	Position() Position
	// WriteTo streams the state, framed and checksummed by the machine.
	io.WriterTo
	// Close releases the pin.
	Close() error
}
