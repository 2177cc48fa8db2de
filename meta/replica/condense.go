package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"kintsugi/internal/directio"
)

// condensePause is between two looks at a group that is not led by the host that is to remain.
const condensePause = 20 * time.Millisecond

// Condense leaves every group with one voter, the same for all, and returns its drive and id: what a process with many
// replicas has to become before it is one node of a cluster. The Set is not to be used for anything else from then on. If it fails
// it may be tried again, also with a new Set.
func (s *Set) Condense(ctx context.Context) (Drive, uint64, error) {
	s.SetWant(0) // the controller leaves the members alone
	hosts := s.alive()
	if len(hosts) == 0 {
		return Drive{}, 0, errNoReplica
	}
	last := s.findLeader(0)
	if last == nil {
		last = hosts[0]
	}
	for group := range uint32(s.cfg.Groups) {
		for {
			done, err := s.condense(ctx, group, last)
			if done {
				break
			}
			select {
			case <-ctx.Done():
				return Drive{}, 0, fmt.Errorf("group %d: %w", group, errors.Join(err, ctx.Err()))
			case <-time.After(condensePause):
			}
		}
	}
	return last.drive, last.ID, nil
}

// condense takes one step: it tells whether last is the only member of the group.
func (s *Set) condense(ctx context.Context, group uint32, last *host) (done bool, err error) {
	leader := s.findLeader(group)
	if leader == nil {
		return false, errNoReplica
	}
	if leader != last {
		return false, leader.call(func(ctx context.Context) error { return leader.raft.Transfer(ctx, group, last.ID) })
	}
	m := last.status(group).Members
	if len(m.GetVotersOutgoing()) > 0 {
		return false, nil
	}
	var others []*raftpb.ConfChangeSingle
	for _, id := range slices.Concat(m.GetVoters(), m.GetLearners()) {
		if id != last.ID {
			others = append(others, &raftpb.ConfChangeSingle{Type: raftpb.ConfChangeRemoveNode.Enum(), NodeId: &id})
		}
	}
	if len(others) == 0 {
		return slices.Contains(m.GetVoters(), last.ID), nil
	}
	return false, s.change(ctx, last, group, others)
}

// Discard removes the replica of a drive that is no member any more. No host runs on it.
func Discard(d Drive) error {
	if err := os.RemoveAll(filepath.Join(d.Dir, metaDir)); err != nil {
		return err
	}
	return directio.SyncDir(d.Dir)
}
