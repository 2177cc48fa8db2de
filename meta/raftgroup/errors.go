package raftgroup

import (
	"errors"
	"fmt"
)

// Errors are matched with errors.Is; they come wrapped with what was being done.
var (
	// ErrStopped says that the host was closed or has failed.
	ErrStopped = errors.New("raft host stopped")
	// ErrLost says that leadership was lost before the entry was known to be committed: it may or may not be executed.
	ErrLost = errors.New("leadership lost before commit")
	// ErrDamaged says that log or state lost something that may have been acknowledged. The replica must be
	// thrown away and replaced by one with another id; it may never vote or serve again.
	ErrDamaged = errors.New("raft log or state damaged")
	// ErrDoubtfulTail is an ErrDamaged where only the last, possibly torn, batch of the log is in doubt. If a
	// quorum cannot be had without this replica, it may be opened with Config.CutDoubtfulTail.
	ErrDoubtfulTail = fmt.Errorf("%w: the log ends in a batch that is torn or damaged", ErrDamaged)
	// ErrForeign says that the log in the directory belongs to another replica or has a format from the future.
	ErrForeign = errors.New("raft log of another replica or version")
	// ErrBusy says that too much is uncommitted or that leadership is being handed over. Nothing was proposed.
	ErrBusy = errors.New("raft group busy")
	// ErrMembersPending says that an earlier membership change is not complete.
	ErrMembersPending = errors.New("another membership change is pending")
	// ErrTooLarge says that a command exceeds MaxCommandBytes, or is empty.
	ErrTooLarge = errors.New("raft command empty or too large")
	// ErrVanished says that the directory of the log was removed.
	ErrVanished = errors.New("raft log directory vanished")
	// ErrUnreachable says that a peer is not there or took no more messages.
	ErrUnreachable = errors.New("peer unreachable")
)

// NotLeaderError says that this host does not lead the group. Leader is 0 if nobody is known to.
type NotLeaderError struct {
	Leader uint64
	Term   uint64
}

func (e *NotLeaderError) Error() string {
	return fmt.Sprintf("not the leader at term %d: that is %d", e.Term, e.Leader)
}
