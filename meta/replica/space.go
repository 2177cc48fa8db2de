package replica

import (
	"context"

	"kintsugi/internal/directio"
	"kintsugi/meta/state"
)

// hasRoom tells whether the drive of h has space to write its state. A drive that does not answer has none.
func (h *host) hasRoom() bool {
	space, err := directio.SpaceAt(h.drive.Dir)
	return err == nil && space.Free >= state.DefaultReserveBytes
}

// watchSpace has groups led by hosts with room whose drives are not slow, and lets commands that add data be refused
// while fewer than a quorum of the hosts have any: deletes must still go through.
func (s *Set) watchSpace() {
	var fit *host // to lead
	hosts, withRoom, limping := s.alive(), 0, 0
	for _, h := range hosts {
		room, limps := h.hasRoom(), h.raft.Limps()
		if room {
			withRoom++
		}
		if limps {
			limping++
		}
		if room && !limps {
			fit = h
		}
	}
	if full := withRoom <= len(hosts)/2; s.full.Swap(full) != full {
		s.log.Warn("room for metadata", "drivesWithRoom", withRoom, "drives", len(hosts), "refusingWrites", full)
	}
	if fit == nil || withRoom == len(hosts) && limping == 0 {
		return
	}
	for group := range uint32(s.cfg.Groups) {
		leader := s.findLeader(group)
		if leader == nil || leader == fit || leader.hasRoom() && !leader.raft.Limps() {
			continue
		}
		err := leader.call(func(ctx context.Context) error { return leader.raft.Transfer(ctx, group, fit.ID) })
		if err != nil {
			s.log.Info("a group stays on a drive that is full or slow for now", "group", group, "error", err)
		}
	}
}
