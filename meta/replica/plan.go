package replica

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"
)

// members is what nextChange decides from.
type members struct {
	voters, learners []uint64
	leader           uint64
	alive            []uint64        // hosts that run
	away             []uint64        // those among them that do not at the moment
	caughtUp         map[uint64]bool // learners that could vote at once
	abandoned        map[uint64]bool // dead for so long that they are left out even without a successor
}

// nextChange returns the one change that brings the members of a group nearer to
// want voters, all alive; ok is false if there is none to make now. Every dead host
// that leaves is replaced in the same joint change where a successor is ready.
func nextChange(m members, want int) (changes []*raftpb.ConfChangeSingle, ok bool) {
	isAlive := func(id uint64) bool { return slices.Contains(m.alive, id) }
	isMember := func(id uint64) bool { return slices.Contains(m.voters, id) || slices.Contains(m.learners, id) }
	deadVoter := slices.IndexFunc(m.voters, func(id uint64) bool { return !isAlive(id) })
	if deadVoter < 0 {
		deadVoter = slices.IndexFunc(m.voters, func(id uint64) bool { return slices.Contains(m.away, id) })
	}
	add := func(t raftpb.ConfChangeType, id uint64) {
		changes = append(changes, &raftpb.ConfChangeSingle{Type: t.Enum(), NodeId: &id})
	}

	for _, id := range m.learners {
		if !isAlive(id) {
			add(raftpb.ConfChangeRemoveNode, id)
			return changes, true
		}
	}
	for _, id := range m.learners {
		if !m.caughtUp[id] {
			continue
		}
		add(raftpb.ConfChangeAddNode, id)
		if deadVoter >= 0 { // even below want: with it one more loss would cost the majority
			add(raftpb.ConfChangeRemoveNode, m.voters[deadVoter])
		}
		return changes, true
	}
	aliveVoters := 0
	for _, id := range m.voters {
		if isAlive(id) {
			aliveVoters++
		}
	}
	if aliveVoters+len(m.learners) < want {
		for _, id := range m.alive {
			if !isMember(id) && !slices.Contains(m.away, id) {
				add(raftpb.ConfChangeAddLearnerNode, id)
				return changes, true
			}
		}
	}
	for _, id := range m.voters {
		if !isAlive(id) && (len(m.voters) > want || m.abandoned[id]) && canLose(len(m.voters), aliveVoters) {
			add(raftpb.ConfChangeRemoveNode, id)
			return changes, true
		}
	}
	if aliveVoters > want { // one that was given up came back before its successor voted
		for _, id := range slices.Backward(m.voters) {
			if id != m.leader {
				add(raftpb.ConfChangeRemoveNode, id)
				return changes, true
			}
		}
	}
	return nil, false
}

// canLose tells whether alive voters of all can agree on a change at all.
func canLose(all, alive int) bool { return alive > all/2 }

// shrinkHelps tells whether a group that leaves its dead voters out, without successors, then stands more deaths. One
// of three or of five is better kept: it counts again when it comes back.
func shrinkHelps(voters, dead int) bool { return (voters-dead)/2 < voters/2 }

// mayForce tells whether alive of voters hosts are sure to hold every committed
// entry between them, although they are no quorum: a quorum and they must overlap. The one process
// that runs all hosts may then go on with them. True for 1 of 2 and 2 of 4.
func mayForce(voters, alive int) bool {
	quorum := voters/2 + 1
	return alive > 0 && alive < quorum && alive >= voters-quorum+1
}

// Tolerates returns how many of so many replicas may die at once, whichever they are.
func Tolerates(replicas int) int {
	dead := 0
	for alive := replicas - 1; alive > replicas/2 || mayForce(replicas, alive); alive-- {
		dead++
	}
	return dead
}
