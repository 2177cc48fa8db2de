package placement

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/zeebo/xxh3"
)

// solve returns the homes of every partition after a change of the drives. Each
// drive gets its target (setTargets), no domain holds more of a partition than
// an even spread allows, and of all rings like that it is one that keeps the
// most of the old homes: a min-cost flow in which a kept home costs nothing and a new one 1.
// The same input gives the same ring.
func solve(cluster ClusterID, slots int, drives []Drive, old [][]DriveID) ([][]DriveID, error) {
	root, leaves := domains(drives, slots)
	if len(leaves) == 0 {
		return nil, ErrNoDrives
	}
	index := make(map[DriveID]int, len(drives))
	for i, d := range drives {
		index[d.ID] = i
	}
	s := &solver{drives: drives, root: root, leaves: leaves, old: make([][]int, len(old)), held: make([]int, len(drives))}
	for p, row := range old {
		for _, id := range row {
			if i, ok := index[id]; ok && !id.IsZero() {
				s.old[p] = append(s.old[p], i)
				s.held[i]++
			} else {
				s.old[p] = append(s.old[p], -1)
			}
		}
	}
	setTargets(root, leaves, drives, len(old), s.held)
	seed := xxh3.Hash128(cluster[:])
	s.random = rand.New(rand.NewPCG(seed.Hi, seed.Lo))
	s.build()
	s.keep()
	s.net.run(source, sink)
	chosen, err := s.chosen()
	if err != nil {
		return nil, err
	}
	return s.assign(chosen, slots), nil
}

// The nodes of the network are the source, the sink, the drives, and for each
// partition itself and those domains whose limit can bind.
const (
	source = int32(0)
	sink   = int32(1)
)

type solver struct {
	drives []Drive
	root   *domain
	leaves []*domain
	old    [][]int // by partition and slot: index of the drive, or -1
	held   []int   // by drive: slots before the change
	random *rand.Rand

	net      *network
	incoming []int32 // by node: the one edge into a partition's own node or domain
	toDrive  [][]int32
	toSink   []int32 // by drive
}

func (s *solver) driveNode(i int) int32 { return 2 + int32(i) }

// build makes the network. The edges of each node are shuffled, so that the drives which
// share partitions differ from one to the next and a lost one is rebuilt by all.
func (s *solver) build() {
	inner := 1
	s.root.binding(func(*domain) { inner++ })
	nodes := 2 + len(s.drives) + len(s.old)*inner
	s.net = newNetwork(nodes, len(s.old)*(inner+len(s.leaves))+len(s.drives))
	s.incoming = make([]int32, nodes)
	s.toSink = make([]int32, len(s.drives))
	for _, l := range s.leaves {
		s.toSink[l.drive] = s.net.edge(s.driveNode(l.drive), sink, int32(l.target), 0)
	}
	free := 2 + int32(len(s.drives))
	s.toDrive = make([][]int32, len(s.old))
	for p := range s.old {
		s.toDrive[p] = make([]int32, len(s.drives))
		s.incoming[free] = s.net.edge(source, free, int32(s.root.limit), 0)
		free = s.attach(p, s.root, free, free+1)
	}
}

// attach adds what is below d in partition p to node at, and returns the next free node.
func (s *solver) attach(p int, d *domain, at, free int32) int32 {
	children := slices.Clone(d.children)
	s.random.Shuffle(len(children), func(i, j int) { children[i], children[j] = children[j], children[i] })
	for _, c := range children {
		switch {
		case c.drive >= 0:
			cost := int8(1)
			if slices.Contains(s.old[p], c.drive) {
				cost = 0
			}
			s.toDrive[p][c.drive] = s.net.edge(at, s.driveNode(c.drive), 1, cost)
		case c.binds():
			s.incoming[free] = s.net.edge(at, free, int32(c.limit), 0)
			free = s.attach(p, c, free, free+1)
		default:
			free = s.attach(p, c, at, free)
		}
	}
	return free
}

// binds tells whether the limit of an inner domain is ever reached before those around and below it.
func (d *domain) binds() bool { return d.limit < d.drives && d.limit < d.parent.limit }

// binding calls visit for each inner domain below d that needs a node of its own.
func (d *domain) binding(visit func(*domain)) {
	for _, c := range d.children {
		if c.drive < 0 {
			if c.binds() {
				visit(c)
			}
			c.binding(visit)
		}
	}
}

// keep lets the old homes flow as far as targets and limits allow. They cost
// nothing, so this is the cheapest flow of its amount and run may go on from it.
// Where a drive must give up slots, the partitions that keep theirs are picked at random.
func (s *solver) keep() {
	var path []int32
	for _, p := range s.random.Perm(len(s.old)) {
		for _, i := range s.old[p] {
			if i < 0 || !s.drives[i].TakesShards() {
				continue
			}
			path = append(path[:0], s.toSink[i], s.toDrive[p][i])
			for e := s.toDrive[p][i]; s.net.to[e^1] != source; {
				e = s.incoming[s.net.to[e^1]]
				path = append(path, e)
			}
			if slices.ContainsFunc(path, func(e int32) bool { return s.net.room[e] <= 0 }) {
				continue
			}
			for _, e := range path {
				s.net.push(e)
			}
		}
	}
}

// chosen reads the drives of each partition off the flow.
func (s *solver) chosen() ([][]int, error) {
	chosen := make([][]int, len(s.old))
	for p := range s.old {
		for _, l := range s.leaves {
			if s.net.room[s.toDrive[p][l.drive]] == 0 {
				chosen[p] = append(chosen[p], l.drive)
			}
		}
		if len(chosen[p]) != s.root.limit {
			return nil, fmt.Errorf("placement: partition %d has %d of %d homes", p, len(chosen[p]), s.root.limit)
		}
	}
	return chosen, nil
}

// assign gives each of a partition's drives a slot. A drive that stays keeps its
// slot, unless that would leave a vacant one before it: shards of narrower codes
// need the first slots. Of the others, each slot gets the drive that has it least often, so that
// data shards, which are read more, are spread like parity.
func (s *solver) assign(chosen [][]int, slots int) [][]DriveID {
	counts := make([][]int, len(s.drives)) // by drive and slot
	for i := range counts {
		counts[i] = make([]int, slots)
	}
	kept := make([][]int, len(s.old)) // by partition and slot
	for p, row := range s.old {
		kept[p] = slices.Repeat([]int{-1}, slots)
		for slot, i := range row {
			if slot < s.root.limit && i >= 0 && slices.Contains(chosen[p], i) {
				kept[p][slot] = i
				counts[i][slot]++
			}
		}
	}
	homes := make([][]DriveID, len(s.old))
	for p, row := range kept {
		s.fill(p, row[:s.root.limit], chosen[p], counts)
		homes[p] = make([]DriveID, slots)
		for slot, i := range row {
			if i >= 0 {
				homes[p][slot] = s.drives[i].ID
			}
		}
	}
	return homes
}

// fill puts the chosen drives that have no slot yet into the free ones of the row.
func (s *solver) fill(p int, row, chosen []int, counts [][]int) {
	var rest []int
	for _, i := range chosen {
		if !slices.Contains(row, i) {
			rest = append(rest, i)
		}
	}
	for slot, at := range row {
		if at >= 0 {
			continue
		}
		best := 0
		for j := range rest {
			if s.rarer(p, slot, rest[j], rest[best], counts) {
				best = j
			}
		}
		row[slot] = rest[best]
		counts[rest[best]][slot]++
		rest = slices.Delete(rest, best, best+1)
	}
}

// rarer tells whether drive a has the slot less often than drive b, by weight.
func (s *solver) rarer(p, slot, a, b int, counts [][]int) bool {
	x := uint64(counts[a][slot]) * uint64(s.drives[b].Weight)
	y := uint64(counts[b][slot]) * uint64(s.drives[a].Weight)
	if x != y {
		return x < y
	}
	return s.tie(p, slot, a) < s.tie(p, slot, b)
}

func (s *solver) tie(p, slot, drive int) uint64 {
	var b [24]byte
	binary.BigEndian.PutUint32(b[:], uint32(p))
	binary.BigEndian.PutUint32(b[4:], uint32(slot))
	copy(b[8:], s.drives[drive].ID[:])
	return xxh3.Hash(b[:])
}
