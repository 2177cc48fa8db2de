package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
)

// callTimeout bounds a call whose context has no deadline: longer than any election.
const callTimeout = 15 * time.Second

// Groups implements meta.Consensus.
func (s *Set) Groups() int { return s.cfg.Groups }

// Propose implements meta.Consensus.
func (s *Set) Propose(ctx context.Context, group int, cmd []byte) (any, error) {
	return s.onLeader(ctx, group, func(ctx context.Context, h *host) (any, error) {
		if s.full.Load() {
			if err := h.machine.Admit(cmd); err != nil {
				return nil, h.blame(err)
			}
		}
		result, err := h.raft.Propose(ctx, uint32(group), cmd)
		if isOfReplica(err) {
			return nil, &retryable{err}
		}
		return result, h.blame(err)
	})
}

// blame marks an error as that of the replica if its state has failed: whatever it said then, another
// replica may know better.
func (h *host) blame(err error) error {
	if err != nil && h.machine.Err() != nil {
		return &retryable{err}
	}
	return err
}

// isOfReplica tells a failure of the replica that was asked from an error of the command itself, which
// every attempt would meet again. After ErrLost or ErrStopped the command may have been executed; its request id
// makes the second attempt find that.
func isOfReplica(err error) bool {
	var notLeader *raftgroup.NotLeaderError
	return errors.As(err, &notLeader) || errors.Is(err, raftgroup.ErrLost) ||
		errors.Is(err, raftgroup.ErrStopped) || errors.Is(err, raftgroup.ErrBusy)
}

// Query implements meta.Consensus.
func (s *Set) Query(ctx context.Context, group int, q any, c meta.Consistency) (any, error) {
	return s.onLeader(ctx, group, func(ctx context.Context, h *host) (any, error) {
		if c == meta.Linearizable {
			if err := h.raft.ReadBarrier(ctx, uint32(group)); err != nil {
				return nil, &retryable{err}
			}
		}
		result, err := h.machine.Query(uint32(group), q)
		return result, h.blame(err)
	})
}

// retryable marks an error of the replica, not of the call: another attempt may do.
type retryable struct{ error }

func (e *retryable) Unwrap() error { return e.error }

// onLeader runs call on the host that leads group and tries again, elsewhere or later, while
// the failure is that of a replica and ctx allows.
func (s *Set) onLeader(ctx context.Context, group int, call func(context.Context, *host) (any, error)) (any, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	result, err := s.tryLeader(ctx, group, call)
	var again *retryable
	for pause := time.Millisecond; errors.As(err, &again); pause = min(2*pause, 50*time.Millisecond) {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: group %d: %v", meta.ErrUnavailable, group, again.error) // its cause is no answer
		case <-time.After(pause):
		}
		result, err = s.tryLeader(ctx, group, call)
	}
	return result, err
}

var errNoReplica = errors.New("no replica is running")

func (s *Set) tryLeader(ctx context.Context, group int, call func(context.Context, *host) (any, error)) (any, error) {
	h := s.leader(group)
	if h == nil {
		return nil, &retryable{errNoReplica}
	}
	result, err := call(ctx, h)
	var notLeader *raftgroup.NotLeaderError
	if errors.As(err, &notLeader) {
		s.leaders[group].Store(notLeader.Leader)
	} else if _, failed := err.(*retryable); failed {
		s.leaders[group].CompareAndSwap(h.ID, 0)
	}
	return result, err
}

// leader returns the host that is thought to lead group, else any that runs.
func (s *Set) leader(group int) *host {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if h := s.hosts[s.leaders[group].Load()]; h != nil {
		return h
	}
	for _, h := range s.hosts {
		return h
	}
	return nil
}
