package placement

import "math"

// network is a flow network with small integer costs. Edges are kept in pairs:
// edge e and its reverse e^1.
type network struct {
	first []int32 // by node: its first edge, or -1
	next  []int32 // by edge: the next edge of the same node, or -1
	to    []int32
	room  []int32 // what can still flow
	cost  []int8

	potential []int32 // by node; reduced costs are never negative
	distance  []int32
	level     []int32
	current   []int32 // by node: the edge that augment tries next
	queue     []int32
	buckets   [][]int32
}

func newNetwork(nodes, edges int) *network {
	n := &network{
		first: make([]int32, 0, nodes), potential: make([]int32, nodes), distance: make([]int32, nodes),
		level: make([]int32, nodes), current: make([]int32, nodes),
		next: make([]int32, 0, 2*edges), to: make([]int32, 0, 2*edges), room: make([]int32, 0, 2*edges), cost: make([]int8, 0, 2*edges),
	}
	for range nodes {
		n.first = append(n.first, -1)
	}
	return n
}

// edge adds an edge and returns its number. Edges of a node are tried in the reverse order of their making.
func (n *network) edge(from, to, room int32, cost int8) int32 {
	e := int32(len(n.to))
	n.to = append(n.to, to, from)
	n.room = append(n.room, room, 0)
	n.cost = append(n.cost, cost, -cost)
	n.next = append(n.next, n.first[from], n.first[to])
	n.first[from], n.first[to] = e, e+1
	return e
}

// push sends one unit over e.
func (n *network) push(e int32) {
	n.room[e]--
	n.room[e^1]++
}

const unreached = math.MaxInt32

// run sends as much as possible from source to sink at the least cost, given
// that what flows already is the cheapest of its amount. It is the primal-dual method: shortest
// distances by Dial's buckets, then all augmenting paths of that length by Dinic's blocking flows.
func (n *network) run(source, sink int32) {
	for n.shortest(source, sink) {
		for n.levels(source, sink) {
			copy(n.current, n.first)
			for n.augment(source, sink, math.MaxInt32) > 0 {
			}
		}
	}
}

// shortest finds the distance of every node and moves the potentials by it.
func (n *network) shortest(source, sink int32) bool {
	for i := range n.distance {
		n.distance[i] = unreached
	}
	n.distance[source] = 0
	n.buckets = append(n.buckets[:0], []int32{source})
	for d := int32(0); int(d) < len(n.buckets); d++ {
		for i := 0; i < len(n.buckets[d]); i++ {
			if u := n.buckets[d][i]; n.distance[u] == d {
				n.relax(u, d)
			}
		}
	}
	if n.distance[sink] == unreached {
		return false
	}
	for i := range n.potential {
		n.potential[i] += min(n.distance[i], n.distance[sink])
	}
	return true
}

func (n *network) relax(u, d int32) {
	for e := n.first[u]; e >= 0; e = n.next[e] {
		v := n.to[e]
		at := d + n.reduced(u, e)
		if n.room[e] <= 0 || at >= n.distance[v] {
			continue
		}
		n.distance[v] = at
		for int(at) >= len(n.buckets) {
			n.buckets = append(n.buckets, nil)
		}
		n.buckets[at] = append(n.buckets[at], v)
	}
}

func (n *network) reduced(u, e int32) int32 {
	return int32(n.cost[e]) + n.potential[u] - n.potential[n.to[e]]
}

// levels counts the steps from the source over edges that cost nothing now.
func (n *network) levels(source, sink int32) bool {
	for i := range n.level {
		n.level[i] = -1
	}
	n.level[source] = 0
	n.queue = append(n.queue[:0], source)
	for i := 0; i < len(n.queue); i++ {
		u := n.queue[i]
		for e := n.first[u]; e >= 0; e = n.next[e] {
			if v := n.to[e]; n.room[e] > 0 && n.level[v] < 0 && n.reduced(u, e) == 0 {
				n.level[v] = n.level[u] + 1
				n.queue = append(n.queue, v)
			}
		}
	}
	return n.level[sink] >= 0
}

// augment sends up to limit from u to the sink along the levels.
func (n *network) augment(u, sink, limit int32) int32 {
	if u == sink {
		return limit
	}
	for ; n.current[u] >= 0; n.current[u] = n.next[n.current[u]] {
		e := n.current[u]
		v := n.to[e]
		if n.room[e] <= 0 || n.level[v] != n.level[u]+1 || n.reduced(u, e) != 0 {
			continue
		}
		if sent := n.augment(v, sink, min(limit, n.room[e])); sent > 0 {
			n.room[e] -= sent
			n.room[e^1] += sent
			return sent
		}
	}
	return 0
}
