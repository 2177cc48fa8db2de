package meta

import "context"

// Consistency is how fresh a read must be. The choice belongs to the caller.
type Consistency uint8

const (
	// Linearizable reads see every write acknowledged before they began.
	Linearizable Consistency = iota
	// Eventual reads are answered by any replica and may be stale.
	Eventual
)

// Consensus is what the Client needs of the replicated groups. Both calls find
// the group's leader and retry elections within ctx; ErrUnavailable says that no
// quorum answered in time.
type Consensus interface {
	// Groups returns the number of groups, fixed at the birth of the cluster.
	Groups() int
	// Propose commits cmd (an encoded Command) in group, applies it and returns its result. An
	// error of the command itself (ErrPrecondition, ...) comes back as the error. After
	// ErrUnavailable the command may or may not have been executed; its request id makes a retry safe.
	Propose(ctx context.Context, group int, cmd []byte) (any, error)
	// Query answers q, a query struct of this package, from the state of group.
	Query(ctx context.Context, group int, q any, c Consistency) (any, error)
}
