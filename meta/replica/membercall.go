package replica

import (
	"context"
	"errors"
	"fmt"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state"
)

// Groups returns the number of groups.
func (m *Member) Groups() int { return m.cfg.Groups }

// Propose commits and executes cmd if this host leads the group, and never tries again. Beside errors of the
// command itself it fails with *raftgroup.NotLeaderError, which may have a hint, and with raftgroup.ErrBusy, where nothing was
// proposed; with raftgroup.ErrLost and raftgroup.ErrStopped the command may or may not be executed.
func (m *Member) Propose(ctx context.Context, group int, cmd []byte) (any, error) {
	h, err := m.leading(group)
	if err != nil {
		return nil, err
	}
	if m.full.Load() || !h.roomy.Load() {
		if err := h.machine.Admit(cmd); err != nil {
			return nil, h.disown(err)
		}
	}
	result, err := h.raft.Propose(ctx, uint32(group), cmd)
	return result, h.disown(err)
}

// Query answers q from this host. A linearizable query needs the leader and fails as Propose does. An
// eventual one is answered by any host that has a state and knows a leader: one that does not may have been removed or
// cut off for long.
func (m *Member) Query(ctx context.Context, group int, q any, c meta.Consistency) (any, error) {
	if c == meta.Linearizable {
		h, err := m.leading(group)
		if err != nil {
			return nil, err
		}
		if err := h.raft.ReadBarrier(ctx, uint32(group)); err != nil {
			return nil, err
		}
		result, err := h.machine.Query(uint32(group), q)
		return result, h.disown(err)
	}
	if m.Leader(uint32(group)) == 0 {
		return nil, &raftgroup.NotLeaderError{}
	}
	return m.QueryAlone(ctx, group, q)
}

// QueryAlone answers q from this host, whatever it knows of the others: where there is no leader, nobody has
// anything newer to offer. It fails as Query does where the host has no complete state.
func (m *Member) QueryAlone(_ context.Context, group int, q any) (any, error) {
	if err := m.known(group); err != nil {
		return nil, err
	}
	h := m.current()
	if h == nil {
		return nil, &raftgroup.NotLeaderError{}
	}
	result, err := h.machine.QueryReplica(uint32(group), q)
	if errors.Is(err, state.ErrIncomplete) {
		return nil, &raftgroup.NotLeaderError{Leader: h.raft.Leader(uint32(group))}
	}
	return result, h.disown(err)
}

func (m *Member) known(group int) error {
	if group < 0 || group >= m.cfg.Groups {
		return fmt.Errorf("metadata group %d of %d: %w", group, m.cfg.Groups, meta.ErrFormat)
	}
	return nil
}

// leading returns the host if it leads group as far as it knows.
func (m *Member) leading(group int) (*host, error) {
	if err := m.known(group); err != nil {
		return nil, err
	}
	h := m.current()
	if h == nil {
		return nil, &raftgroup.NotLeaderError{}
	}
	if leader := h.raft.Leader(uint32(group)); leader != h.ID {
		return nil, &raftgroup.NotLeaderError{Leader: leader}
	}
	return h, nil
}

// disown makes an error that of a stopped replica if the state has failed: whatever it said then, another replica may
// know better.
func (h *host) disown(err error) error {
	if err != nil && h.machine.Err() != nil && !errors.Is(err, raftgroup.ErrStopped) {
		return fmt.Errorf("%w: %v", raftgroup.ErrStopped, err) // its cause is no answer
	}
	return err
}

// Leader returns the host that leads group as far as this one knows, or 0. It costs nothing.
func (m *Member) Leader(group uint32) uint64 {
	if h := m.current(); h != nil {
		return h.raft.Leader(group)
	}
	return 0
}

// Leads returns the groups that this host leads as far as it knows.
func (m *Member) Leads() []int {
	h := m.current()
	var groups []int
	for g := 0; h != nil && g < m.cfg.Groups; g++ {
		if h.raft.Leader(uint32(g)) == h.ID {
			groups = append(groups, g)
		}
	}
	return groups
}
