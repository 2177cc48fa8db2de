package placement

import (
	"cmp"
	"slices"
)

// domain is a zone, a node or a drive: what can be lost at once. The tree of
// them has the cluster at its root and drives as its leaves.
type domain struct {
	parent   *domain
	children []*domain
	drive    int // index of a leaf's drive; -1 for others
	drives   int // number of leaves below
	limit    int // shards of one partition that it may hold
	target   int // slots of the whole ring that it gets
}

// domains builds the tree over the drives that take shards, in the order of
// zone, node and id, and limits each domain to as few shards of one partition
// as an even spread allows: zones first, then nodes.
func domains(drives []Drive, slots int) (root *domain, leaves []*domain) {
	order := make([]int, 0, len(drives))
	for i, d := range drives {
		if d.TakesShards() {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := drives[a], drives[b]
		return cmp.Or(cmp.Compare(x.Zone, y.Zone), cmp.Compare(x.Node, y.Node), compareIDs(x.ID, y.ID))
	})
	root = &domain{drive: -1}
	var zone, node *domain
	for i, at := range order {
		d := drives[at]
		newZone := i == 0 || drives[order[i-1]].Zone != d.Zone
		if newZone {
			zone = root.add(-1)
		}
		if newZone || drives[order[i-1]].Node != d.Node {
			node = zone.add(-1)
		}
		leaves = append(leaves, node.add(at))
	}
	root.limit = min(slots, len(leaves))
	for _, l := range leaves {
		l.limit = 1
	}
	limitZones(root)
	limitNodes(root)
	return root, leaves
}

func (d *domain) add(drive int) *domain {
	child := &domain{parent: d, drive: drive}
	d.children = append(d.children, child)
	if drive >= 0 {
		for p := child; p != nil; p = p.parent {
			p.drives++
		}
	}
	return child
}

// limitZones gives all zones the smallest limit with which they can hold a whole partition.
func limitZones(root *domain) {
	for limit, room := 1, 0; room < root.limit; limit++ {
		room = 0
		for _, z := range root.children {
			z.limit = min(limit, z.drives)
			room += z.limit
		}
	}
}

// limitNodes does the same for the nodes, within the limits of their zones.
func limitNodes(root *domain) {
	for limit, room := 1, 0; room < root.limit; limit++ {
		room = 0
		for _, z := range root.children {
			inZone := 0
			for _, n := range z.children {
				n.limit = min(limit, n.drives)
				inZone += n.limit
			}
			room += min(inZone, z.limit)
		}
	}
}

// setTargets shares the partitions*limit slots among the leaves in proportion to their
// weights, as whole numbers, under the limits of all domains. Each slot goes to
// the leaf that is furthest below its share and still has room above it (Webster's
// method), which fills the limits like water: what one domain may not take, the
// others get by their weights. Equal claims go to the leaf that held more before.
func setTargets(root *domain, leaves []*domain, drives []Drive, partitions int, held []int) {
	queue := &claims{drives: drives, held: held, leaves: slices.Clone(leaves)}
	for i := len(queue.leaves)/2 - 1; i >= 0; i-- {
		queue.sink(i)
	}
	for left := partitions * root.limit; left > 0 && len(queue.leaves) > 0; {
		leaf := queue.leaves[0]
		if leaf.full(partitions) {
			queue.drop()
			continue
		}
		for d := leaf; d != nil; d = d.parent {
			d.target++
		}
		left--
		queue.sink(0)
	}
}

// full tells whether the leaf or a domain around it has all the slots it may have.
func (d *domain) full(partitions int) bool {
	for ; d != nil; d = d.parent {
		if d.target >= partitions*d.limit {
			return true
		}
	}
	return false
}

// claims is a heap of leaves, the one furthest below its share on top.
type claims struct {
	drives []Drive
	held   []int // slots before, by drive
	leaves []*domain
}

func (c *claims) before(a, b *domain) bool {
	x, y := c.drives[a.drive], c.drives[b.drive]
	// (2*target+1)/weight is compared as integers, so that every machine decides alike.
	p := uint64(2*a.target+1) * uint64(y.Weight)
	q := uint64(2*b.target+1) * uint64(x.Weight)
	if p != q {
		return p < q
	}
	if c.held[a.drive] != c.held[b.drive] {
		return c.held[a.drive] > c.held[b.drive]
	}
	return compareIDs(x.ID, y.ID) < 0
}

func (c *claims) sink(i int) {
	for {
		first := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(c.leaves) && c.before(c.leaves[child], c.leaves[first]) {
				first = child
			}
		}
		if first == i {
			return
		}
		c.leaves[i], c.leaves[first] = c.leaves[first], c.leaves[i]
		i = first
	}
}

func (c *claims) drop() {
	last := len(c.leaves) - 1
	c.leaves[0] = c.leaves[last]
	c.leaves = c.leaves[:last]
	c.sink(0)
}
