package admin

import (
	"fmt"
	"strings"
	"time"

	"kintsugi/meta/membership"
)

// fullShare is the share of used space from which a drive is worth a word.
const fullShare = 0.9

// problems lists what is bad, each with the next step, the worst kinds first.
func problems(f *Facts, drives []driveFacts, s *Status) []Problem {
	var all []Problem
	if s.Coordinator == "" {
		all = append(all, Problem{Unavailable, "no process leads metadata group 0: nothing can be written or changed",
			"start the metadata nodes that are down: a majority of them must run and reach each other"})
	}
	if f.Map == nil {
		return append(all, Problem{Unavailable, "there is no cluster map yet",
			"start the nodes named in --join and enough drives for the code; the first map is made by itself"})
	}
	all = append(all, dataProblems(s)...)
	all = append(all, metadataProblems(s)...)
	all = append(all, nodeProblems(s)...)
	return append(all, driveProblems(f, drives, s)...)
}

func dataProblems(s *Status) []Problem {
	c := s.Chunks
	if c == nil {
		return nil
	}
	var all []Problem
	down := downNodes(s)
	next := "they are rebuilt by themselves; watch it with: kintsugi admin status --watch"
	if takers(s.Drives) < s.K+s.M {
		next = "they get their shards once there are drives enough for the code"
	}
	bring := next
	if down != "" {
		bring = "start " + down + " again; kintsugi admin why BUCKET/KEY explains one object"
	} else if c.Unreadable > 0 {
		bring = "give lost drives back; kintsugi admin why BUCKET/KEY explains one object"
	}
	if c.Unreadable > 0 {
		all = append(all, Problem{Unavailable, fmt.Sprintf("%s cannot be read now: fewer than k shards can be reached", count(c.Unreadable, "chunk")), bring})
	}
	if c.AtRisk > 0 {
		all = append(all, Problem{AtRisk, fmt.Sprintf("%s at risk: unreadable with the next lost shard", count(c.AtRisk, "chunk")), bring})
	}
	lacking := uint64(0)
	for lost, n := range c.ByLost {
		if lost > 0 {
			lacking += n
		}
	}
	if lacking > c.AtRisk {
		all = append(all, Problem{Degraded, fmt.Sprintf("%s without all shards", count(lacking-c.AtRisk, "chunk")), next})
	}
	return all
}

// takers counts the drives that are there and take shards.
func takers(drives []Drive) int {
	n := 0
	for _, d := range drives {
		if d.Live && d.State == "up" && d.Weight > 0 {
			n++
		}
	}
	return n
}

// downNodes names those nodes whose return would help.
func downNodes(s *Status) string {
	var names []string
	for _, n := range s.Nodes {
		if !n.Up && !n.Removed && n.Drives > 0 {
			names = append(names, n.Name)
		}
	}
	return strings.Join(names, ", ")
}

func metadataProblems(s *Status) []Problem {
	var all []Problem
	for _, g := range s.Metadata.Groups {
		var down []string
		up := 0
		for _, v := range g.Voters {
			if v.Up {
				up++
			} else if v.Node != "" {
				down = append(down, v.Node)
			} else {
				down = append(down, "host "+v.Host)
			}
		}
		quorum := len(g.Voters)/2 + 1
		start := "start it again: " + strings.Join(down, ", ")
		switch {
		case up < quorum:
			all = append(all, Problem{Unavailable, fmt.Sprintf("metadata group %d has no quorum: %d of %d voters are up", g.Group, up, len(g.Voters)), start})
		case g.Leader == "":
			all = append(all, Problem{Unavailable, fmt.Sprintf("metadata group %d has no leader", g.Group), "an election takes a second or two: look again"})
		case up == quorum && len(g.Voters) > 1 && len(down) > 0:
			all = append(all, Problem{AtRisk, fmt.Sprintf("metadata group %d loses its quorum with the next voter: %d of %d are up", g.Group, up, len(g.Voters)),
				start + "; a spare metadata node takes its place by itself"})
		}
	}
	return grouped(all)
}

// grouped says once what is said of several groups in the same words.
func grouped(all []Problem) []Problem {
	if len(all) < 2 {
		return all
	}
	_, words, _ := strings.Cut(strings.TrimPrefix(all[0].What, "metadata group "), " ")
	for _, p := range all[1:] {
		_, other, _ := strings.Cut(strings.TrimPrefix(p.What, "metadata group "), " ")
		if other != words || p.Next != all[0].Next {
			return all
		}
	}
	return []Problem{{all[0].Health, fmt.Sprintf("each of %d metadata groups %s", len(all), words), all[0].Next}}
}

func nodeProblems(s *Status) []Problem {
	var all []Problem
	for _, n := range s.Nodes {
		if n.Up || n.Removed {
			continue
		}
		since := "has been down for " + age(n.Seconds)
		switch {
		case n.Unseen:
			since = "has not been heard of"
		case s.Coordinator == "":
			since = "does not answer"
		}
		all = append(all, Problem{Degraded, fmt.Sprintf("node %s %s", at(n.Name, n.Addr), since), afterNode(s, n)})
	}
	return all
}

// afterNode is the next step for a node that is down.
func afterNode(s *Status, n Node) string {
	needed := 0 // slots that it has or that are still rebuilt elsewhere
	others := 0 // drives that could take them
	for _, d := range s.Drives {
		switch {
		case d.Node == n.Name:
			needed += d.Slots + d.Leaving
		case d.Live && d.State == "up" && d.Weight > 0:
			others++
		}
	}
	switch {
	case n.Drives > 0 && s.Chunks != nil && s.Chunks.Unreadable > 0:
		return "start it again: chunks that cannot be read may need it"
	case n.Drives > 0 && needed > 0 && others < s.K+s.M:
		return "start it again; if it is gone for ever, add drives first: too few are left for its shards"
	case n.Drives > 0 && needed > 0:
		return "start it again, or if it is gone for ever: kintsugi admin remove " + n.Name + " --force-lost"
	case n.Drives > 0:
		return "its shards have been rebuilt elsewhere: start it again, or take it out: kintsugi admin remove " + n.Name
	case n.Host != "" && s.Metadata.Lost == 0:
		return "start it again, or another metadata node in its place: it becomes a voter by itself"
	}
	return "start it again"
}

func driveProblems(f *Facts, drives []driveFacts, s *Status) []Problem {
	var all []Problem
	for i := range drives {
		d := &drives[i]
		name := "drive " + d.name()
		node := f.member(d.Node)
		switch {
		case d.isRemoved():
		case d.inMap && !d.live() && node != nil && node.Up:
			all = append(all, Problem{Degraded, name + " is not there, though its node is up",
				"give the disk back, or put an empty directory in its place; if it is gone for ever: kintsugi admin remove " + shortID(d.ID) + " --force-lost"})
		case d.live() && d.report.Capacity > 0 && float64(d.report.Capacity-min(d.report.Free, d.report.Capacity)) > fullShare*float64(d.report.Capacity):
			all = append(all, Problem{Degraded, fmt.Sprintf("%s is %d %% full", name, 100-100*d.report.Free/d.report.Capacity),
				"add drives; see what that moves with: kintsugi admin plan add-node --drives N"})
		}
		if d.live() && d.report.Corrupt > 0 {
			all = append(all, Problem{Degraded, fmt.Sprintf("%s has %s that were found damaged", name, count(d.report.Corrupt, "shard")),
				"they are rebuilt by themselves; if their number grows, replace the disk"})
		}
	}
	if slots, taking := f.Map.Slots(), takers(s.Drives); taking < slots {
		all = append(all, Problem{Degraded, fmt.Sprintf("%d drives take shards, the code %d+%d needs %d: new objects get fewer data shards and the same parity", taking, f.Map.K, f.Map.M, slots),
			"bring drives back or add some"})
	}
	return all
}

// member returns the node of this name, or nil.
func (f *Facts) member(name string) *membership.NodeStatus {
	for i := range f.Members {
		if f.Members[i].Beat.Node.Name == name {
			return &f.Members[i]
		}
	}
	return nil
}

// name is what people call the drive.
func (d *driveFacts) name() string {
	if d.report.Dir == "" {
		return shortID(d.ID) + " of " + d.Node
	}
	return shortID(d.ID) + " of " + d.Node + " (" + d.report.Dir + ")"
}

func at(name, addr string) string {
	if addr == "" {
		return name
	}
	return name + " (" + addr + ")"
}

// age is a number of seconds for people.
func age(s float64) string { return duration(time.Duration(s * float64(time.Second))) }
