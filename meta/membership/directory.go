package membership

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"kintsugi/internal/rpc"
	"kintsugi/placement"
)

// Directory is what a process knows of itself and of the others: of what the coordinator says, and before there is one, of
// what the others say themselves. Readers never wait.
type Directory struct {
	mu  sync.Mutex // serialises changes
	now atomic.Pointer[view]
}

// view is never changed once it is published.
type view struct {
	self    Hello
	peers   map[string]Peer // by node name, without self
	answers uint64          // counts those of coordinators
	table   uint64          // Answer.Table
	leader  string
	orders  Orders

	byHost map[uint64]string // addresses of metadata replicas
	hosts  []uint64          // as Hosts returns them
	alive  []uint64          // as Alive returns them
}

// NewDirectory returns the directory of a process. self.Founding is what it has kept, known are the nodes that it kept from
// earlier: where they were, not that they are up.
func NewDirectory(self Hello, known []Node) *Directory {
	self.Format = Format
	v := &view{self: self, peers: map[string]Peer{}}
	for _, n := range known {
		if n.Name != self.Node.Name {
			v.peers[n.Name] = Peer{Node: n}
		}
	}
	v.index()
	d := &Directory{}
	d.now.Store(v)
	return d
}

// index makes what is derived.
func (v *view) index() {
	v.byHost = map[uint64]string{}
	for _, name := range slices.Sorted(maps.Keys(v.peers)) {
		p := v.peers[name]
		if p.Node.Host != 0 && (p.Up || v.byHost[p.Node.Host] == "") {
			v.byHost[p.Node.Host] = p.Node.Addr
		}
	}
	v.hosts = v.upHosts()
	slices.SortFunc(v.hosts, v.preferred)
	v.alive = slices.Clone(v.hosts)
	if own := v.self.Node.Host; own != 0 {
		v.byHost[own] = v.self.Node.Addr
		v.hosts = append(v.hosts, own)
		v.alive = append(v.alive, own)
		slices.SortFunc(v.alive, v.preferred)
	}
}

// change publishes what edit makes of the newest view.
func (d *Directory) change(edit func(*view)) (old, now *view) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old = d.now.Load()
	next := *old
	next.peers = maps.Clone(old.peers)
	edit(&next)
	next.index()
	d.now.Store(&next)
	return old, &next
}

// Self returns this process.
func (d *Directory) Self() Node { return d.now.Load().self.Node }

// SetSelf changes what this process says of itself. Its name and incarnation stay.
func (d *Directory) SetSelf(edit func(*Node)) {
	d.change(func(v *view) {
		name, incarnation := v.self.Node.Name, v.self.Node.Incarnation
		edit(&v.self.Node)
		v.self.Node.Name, v.self.Node.Incarnation = name, incarnation
	})
}

// Founding returns that of the cluster; ok is false before it is known.
func (d *Directory) Founding() (f Founding, ok bool) {
	if f := d.now.Load().self.Founding; f != nil {
		return *f, true
	}
	return Founding{}, false
}

// SetFounding tells everybody who asks. What a metadata node says here it must have kept.
func (d *Directory) SetFounding(f Founding) {
	d.change(func(v *view) { v.self.Founding = &f })
}

// Hello returns what this process says of itself and the others.
func (d *Directory) Hello() Hello {
	v := d.now.Load()
	h := v.self
	h.Leader = v.leader
	for _, name := range slices.Sorted(maps.Keys(v.peers)) {
		if p := v.peers[name]; p.Node.Addr != "" && p.Node.Host != 0 {
			h.Peers = append(h.Peers, p.Node)
		}
	}
	return h
}

// Learn takes note of what a process said of itself and, where nothing better is known, of others. What
// the coordinator says replaces it, and is asked for: a hello may have been on its way for longer than its process has lived.
func (d *Directory) Learn(h Hello) {
	if !d.newsIn(h) {
		return
	}
	d.change(func(v *view) {
		for _, n := range h.Peers {
			if _, known := v.peers[n.Name]; !known && n.Name != v.self.Node.Name {
				v.peers[n.Name] = Peer{Node: n}
			}
		}
		if p := v.peers[h.Node.Name]; v.believes(p, h.Node) {
			v.peers[h.Node.Name] = Peer{Node: h.Node, Up: true, Drives: p.Drives}
			v.table = 0
		}
	})
}

func (d *Directory) newsIn(h Hello) bool {
	v := d.now.Load()
	for _, n := range h.Peers {
		if _, known := v.peers[n.Name]; !known && n.Name != v.self.Node.Name {
			return true
		}
	}
	p := v.peers[h.Node.Name]
	return v.believes(p, h.Node) && (!p.Up || p.Node != h.Node)
}

// believes tells whether a node that says n of itself may replace p: not if it has this process's name, nor that of another that is up.
func (v *view) believes(p Peer, n Node) bool {
	return n.Name != v.self.Node.Name && (!p.Up || p.Node.Addr == n.Addr || p.Node.Incarnation == n.Incarnation)
}

// apply takes the answer of a coordinator at addr. It returns the addresses of processes that are no more.
func (d *Directory) apply(addr string, a *Answer) (down []string) {
	old, now := d.change(func(v *view) {
		v.leader = addr
		v.answers++
		if a.Founding.Cluster != (placement.ClusterID{}) && v.self.Founding == nil && v.self.Node.Roles&rpc.Meta == 0 {
			f := a.Founding // a metadata node keeps it first: Join
			v.self.Founding = &f
		}
		if a.Orders.Serial > v.orders.Serial {
			v.orders = a.Orders
		}
		if len(a.Peers) == 0 {
			return
		}
		v.table = a.Table
		before := v.peers
		v.peers = make(map[string]Peer, len(a.Peers))
		for _, p := range a.Peers {
			if p.Node.Addr == "" { // known from the map only
				p.Node = before[p.Node.Name].Node
			}
			if p.Node.Name != "" && p.Node.Name != v.self.Node.Name {
				v.peers[p.Node.Name] = p
			}
		}
	})
	for name, p := range old.peers {
		// A coordinator that has just begun may not know a node that said hello: that is no news of its end.
		if q, known := now.peers[name]; known && p.Up && (!q.Up || q.Node.Incarnation != p.Node.Incarnation) {
			down = append(down, p.Node.Addr)
		}
	}
	slices.Sort(down)
	return down
}

// Leader returns the address of the coordinator that answered last, or "".
func (d *Directory) Leader() string { return d.now.Load().leader }

// Orders returns the newest that this process saw.
func (d *Directory) Orders() Orders { return d.now.Load().orders }

// AddrOf returns where the process with a metadata replica is, or was when it was last heard of.
func (d *Directory) AddrOf(host uint64) (addr string, ok bool) {
	addr, ok = d.now.Load().byHost[host]
	return addr, ok
}

// Hosts lists the metadata replicas that are up, that of this process last. Before the first answer of a coordinator
// all that are known count as up. The caller must not change the slice.
func (d *Directory) Hosts() []uint64 { return d.now.Load().hosts }

// Alive lists the same replicas in the order in which they should become members of a group: those whose processes
// have fewer other roles first. The caller must not change the slice.
func (d *Directory) Alive() []uint64 { return d.now.Load().alive }

// Peers lists the other nodes by name.
func (d *Directory) Peers() []Peer {
	v := d.now.Load()
	peers := make([]Peer, 0, len(v.peers))
	for _, name := range slices.Sorted(maps.Keys(v.peers)) {
		peers = append(peers, v.peers[name])
	}
	return peers
}
