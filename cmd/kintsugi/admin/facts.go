package admin

import (
	"cmp"
	"slices"
	"time"

	"kintsugi/meta/membership"
	"kintsugi/placement"
	"kintsugi/storagenode"
)

// Facts are what a process knows of its cluster at one moment.
type Facts struct {
	Now         time.Time
	Node        string                  // the process
	Coordinated bool                    // it coordinates; else Members are what it was told, perhaps long ago
	Map         *placement.Map          // nil: there is none yet
	Members     []membership.NodeStatus // every node that was heard of
	Groups      []GroupFacts            // of the metadata
	Redundancy  *storagenode.Redundancy // nil: not counted
	Orders      membership.Orders       // the newest
}

// GroupFacts is what a replica knows of a Raft group, by hosts.
type GroupFacts struct {
	Group    int
	Leader   uint64 // 0: unknown
	Voters   []uint64
	Learners []uint64
}

// driveFacts is a drive as the map and its node see it.
type driveFacts struct {
	placement.Drive
	inMap  bool
	member *membership.NodeStatus // whose last beat reported it, nil if none did
	report membership.DriveReport
	slots  int // as Drive.Slots and Drive.Leaving
	prior  int
}

// live tells whether the drive can be reached.
func (d *driveFacts) live() bool { return d.member != nil && d.member.Up }

// state is the word for what the map says.
func (d *driveFacts) state() string {
	switch {
	case !d.inMap:
		return "new"
	case d.isRemoved():
		return "removed"
	}
	return d.State.String()
}

// isRemoved tells whether an operator took the drive out of the cluster.
func (d *driveFacts) isRemoved() bool {
	return d.inMap && d.State == placement.Out && d.Weight == 0
}

func (d *driveFacts) takesShards() bool {
	return d.inMap && d.State == placement.Up && d.Weight > 0
}

// drives joins what the map and the nodes say, by node and id.
func (f *Facts) drives() []driveFacts {
	var all []driveFacts
	at := map[placement.DriveID]int{}
	if f.Map != nil {
		slots, prior := slotCounts(f.Map)
		for _, d := range f.Map.Drives {
			at[d.ID] = len(all)
			all = append(all, driveFacts{Drive: d, inMap: true, slots: slots[d.ID], prior: prior[d.ID]})
		}
	}
	for i := range f.Members {
		m := &f.Members[i]
		for _, r := range m.Beat.Drives {
			j, known := at[r.ID]
			if !known {
				j = len(all)
				at[r.ID] = j
				all = append(all, driveFacts{Drive: placement.Drive{ID: r.ID, Node: m.Beat.Node.Name, Zone: m.Beat.Node.Zone}})
			}
			if all[j].live() && !m.Up {
				continue // it was found at another node meanwhile
			}
			all[j].member, all[j].report = m, r
		}
	}
	slices.SortFunc(all, func(a, b driveFacts) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.report.Dir, b.report.Dir), slices.Compare(a.ID[:], b.ID[:]))
	})
	return all
}

// slotCounts counts for each drive the slots that it is home of, and those of open transitions that it leaves.
func slotCounts(m *placement.Map) (slots, leaving map[placement.DriveID]int) {
	slots, leaving = map[placement.DriveID]int{}, map[placement.DriveID]int{}
	for p := range uint32(m.Partitions) {
		homes := m.Homes(p)
		for _, id := range homes {
			slots[id]++
		}
		for _, id := range m.Previous(p) {
			if !slices.Contains(homes, id) {
				leaving[id]++
			}
		}
	}
	delete(slots, placement.DriveID{})
	delete(leaving, placement.DriveID{})
	return slots, leaving
}

// memberOf returns the node with this metadata host, or nil.
func (f *Facts) memberOf(host uint64) *membership.NodeStatus {
	i := slices.IndexFunc(f.Members, func(m membership.NodeStatus) bool { return m.Beat.Node.Host == host })
	if i < 0 || host == 0 {
		return nil
	}
	return &f.Members[i]
}
