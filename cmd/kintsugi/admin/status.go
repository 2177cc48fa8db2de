package admin

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"kintsugi/storagenode"
)

// Assess makes the status of a cluster of what is known of it. It is pure.
func Assess(f Facts) Status {
	drives := f.drives()
	s := Status{
		Format: Format, Time: f.Now.UTC(), Health: Healthy, Problems: []Problem{},
		Nodes: f.nodes(drives), Drives: []Drive{}, Metadata: f.metadata(), Repair: f.repair(), Space: space(drives),
		Orders: Orders{Serial: f.Orders.Serial, RepairLimit: f.Orders.RepairLimit},
	}
	if m := f.member(f.Node); f.Coordinated && m != nil {
		s.Coordinator = m.Beat.Node.Addr
	}
	if m := f.Map; m != nil {
		s.Cluster, s.Epoch, s.Partitions = m.Cluster.String(), m.Epoch, m.Partitions
		s.Code, s.K, s.M, s.Moving = fmt.Sprintf("%d+%d", m.K, m.M), m.K, m.M, len(m.Open())
	}
	for i := range drives {
		s.Drives = append(s.Drives, drives[i].record(f.Now))
	}
	if f.Redundancy != nil {
		s.Chunks = chunks(*f.Redundancy, f.tolerates())
	}
	s.Problems = append(s.Problems, problems(&f, drives, &s)...)
	for _, p := range s.Problems {
		if p.Health.rank() > s.Health.rank() {
			s.Health = p.Health
		}
	}
	return s
}

// tolerates is the m of the code.
func (f *Facts) tolerates() int {
	if f.Map == nil {
		return 0
	}
	return f.Map.M
}

func (d *driveFacts) record(now time.Time) Drive {
	r := Drive{
		ID: d.ID.String(), Node: d.Node, Zone: d.Zone, Dir: d.report.Dir, State: d.state(), Live: d.live(),
		Weight: d.Weight, Slots: d.slots, Leaving: d.prior,
		Capacity: d.report.Capacity, Free: d.report.Free, Used: d.report.Used, LiveData: d.report.Live,
		Shards: d.report.Shards, Corrupt: d.report.Corrupt, Scrubbed: d.report.Scrubbed,
	}
	if d.member != nil {
		r.Seconds = seconds(now.Sub(d.member.Since))
	}
	return r
}

// nodes are those that were heard of, and those that only the map knows.
func (f *Facts) nodes(drives []driveFacts) []Node {
	nodes := []Node{}
	at := map[string]int{}
	for _, m := range f.Members {
		n := m.Beat.Node
		at[n.Name] = len(nodes)
		nodes = append(nodes, Node{
			Unseen: n.Addr == "", Name: n.Name, Addr: n.Addr, S3: n.S3, Admin: n.Admin, Zone: n.Zone, Roles: n.Roles.Names(),
			Up: m.Up, Seconds: seconds(f.Now.Sub(m.Since)), Release: n.Release, Leads: m.Beat.Leads,
			Host: hostName(n.Host), Orders: m.Beat.Orders.Serial,
		})
	}
	removed := map[string]int{}
	for _, d := range drives {
		i, known := at[d.Node]
		if !known {
			i = len(nodes)
			at[d.Node] = i
			nodes = append(nodes, Node{Name: d.Node, Zone: d.Zone, Roles: []string{"storagenode"}, Unseen: true})
		}
		nodes[i].Drives++
		if d.isRemoved() {
			removed[d.Node]++
		}
	}
	for i := range nodes {
		nodes[i].Removed = nodes[i].Drives > 0 && removed[nodes[i].Name] == nodes[i].Drives
	}
	slices.SortStableFunc(nodes, func(a, b Node) int { return compareNames(a.Name, b.Name) })
	return nodes
}

// compareNames puts n2 before n10.
func compareNames(a, b string) int {
	x, y := strings.TrimRight(a, "0123456789"), strings.TrimRight(b, "0123456789")
	if x == y {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	}
	return cmp.Compare(a, b)
}

func hostName(id uint64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", id)
}

// metadata says of each group who leads it and which of its voters are up.
func (f *Facts) metadata() Metadata {
	md := Metadata{Groups: []Group{}}
	for _, g := range f.Groups {
		out := Group{Group: g.Group, Voters: f.voters(g.Voters), Learners: f.voters(g.Learners)}
		if leader := f.memberOf(g.Leader); leader != nil && leader.Up {
			out.Leader = leader.Beat.Node.Name
		}
		up := 0
		for _, v := range out.Voters {
			if v.Up {
				up++
			}
		}
		switch quorum := len(out.Voters)/2 + 1; {
		case up < quorum || out.Leader == "":
			md.Lost++
		case up == quorum && len(out.Voters) > 1:
			md.Risky++
		}
		md.Groups = append(md.Groups, out)
	}
	return md
}

func (f *Facts) voters(hosts []uint64) []Voter {
	var voters []Voter
	for _, h := range hosts {
		v := Voter{Host: hostName(h)}
		if m := f.memberOf(h); m != nil {
			v.Node, v.Up = m.Beat.Node.Name, m.Up
		}
		voters = append(voters, v)
	}
	slices.SortFunc(voters, func(a, b Voter) int {
		return cmp.Or(compareNames(a.Node, b.Node), cmp.Compare(a.Host, b.Host))
	})
	return voters
}

// repair sums up the nodes that are up.
func (f *Facts) repair() Repair {
	var sum Repair
	for _, m := range f.Members {
		if !m.Up {
			continue
		}
		r := m.Beat.Repair
		sum.PendingShards += r.PendingShards
		sum.PendingPartitions += r.PendingPartitions
		sum.BytesPerSecond += r.BytesPerSecond
		sum.ReadBytes += r.ReadBytes
		sum.WrittenBytes += r.WrittenBytes
		if r.ETASeconds < 0 {
			sum.ETASeconds = -1
		} else if sum.ETASeconds >= 0 {
			sum.ETASeconds = max(sum.ETASeconds, r.ETASeconds)
		}
	}
	sum.BytesPerSecond, sum.ETASeconds = math.Round(sum.BytesPerSecond), math.Round(sum.ETASeconds)
	return sum
}

func space(drives []driveFacts) Space {
	var sum Space
	for _, d := range drives {
		if d.live() && d.takesShards() {
			sum.Capacity += d.report.Capacity
			sum.Used += d.report.Used
			sum.Live += d.report.Live
			sum.Free += d.report.Free
		}
	}
	return sum
}

// chunks leaves out the risk of a code without parity: it is not at more risk than it was chosen to be.
func chunks(r storagenode.Redundancy, m int) *Chunks {
	c := &Chunks{
		Total: r.Chunks, Bytes: r.Bytes, ByLost: slices.Clone(r.Lost), ByLive: slices.Clone(r.Live),
		AtRisk: r.AtRisk, Unreadable: r.Unreadable, Abandoned: r.Abandoned, Missing: r.MissingBytes,
	}
	if m == 0 {
		c.AtRisk = 0
	}
	return c
}
