package simnet

import (
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Network connects hosts. Its methods may be called at any time, also while bytes travel.
type Network struct {
	seed uint64

	mu       sync.Mutex // guards all that follows, and the insides of hosts, listeners and connections
	standard Link
	links    map[[2]string]*link
	hosts    map[string]*Host
	conns    map[*conn]struct{} // the ends that are open
	port     int                // last one that was given out
	serial   int                // of connections
}

// New returns a network without hosts, whose delays come from seed.
func New(seed uint64) *Network {
	return &Network{
		seed: seed, links: map[[2]string]*link{}, hosts: map[string]*Host{}, conns: map[*conn]struct{}{}, port: 20000,
	}
}

// Host returns the process at name: the one that runs there, or a new one.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil && !h.dead {
		return h
	}
	h := &Host{net: n, name: name, listeners: map[Addr]*listener{}}
	n.hosts[name] = h
	for _, c := range n.open() { // the system is there again, and knows of no connection
		if c.peer.host.name == name && c.out.deaf && c.out.size > 0 {
			c.bounce(time.Now())
		}
	}
	return h
}

// open returns the ends that are open, in the order in which they were made: chance must not depend on that of a map.
func (n *Network) open() []*conn {
	return slices.SortedFunc(maps.Keys(n.conns), func(a, b *conn) int { return a.serial - b.serial })
}

// SetLinks sets what all links are like for which nothing else is or was set.
func (n *Network) SetLinks(l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.standard = l
	for _, x := range n.links {
		x.Link = l
	}
}

// SetLink sets what the way from one host to another is like.
func (n *Network) SetLink(from, to string, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(from, to).Link = l
}

func (n *Network) link(from, to string) *link {
	key := [2]string{from, to}
	l := n.links[key]
	if l == nil {
		h := fnv.New64a()
		io.WriteString(h, from+"\x00"+to)
		l = &link{Link: n.standard, rand: rand.New(rand.NewPCG(n.seed, h.Sum64()))}
		if from == to {
			l.Link = Link{}
		}
		n.links[key] = l
	}
	return l
}

// Cut loses all that goes from one host to another, as a broken cable does: nobody is told. What was lost is sent again after Mend.
// Both directions take two calls.
func (n *Network) Cut(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(from, to)
	if l.cut || from == to {
		return
	}
	l.cut, l.cutAt = true, time.Now()
	for _, c := range n.open() {
		for _, p := range c.over(l) {
			p.sever(l.cutAt)
		}
	}
}

// Mend undoes Cut.
func (n *Network) Mend(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mend(n.link(from, to))
}

// Heal undoes every Cut.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		n.mend(l)
	}
}

func (n *Network) mend(l *link) {
	if !l.cut {
		return
	}
	l.cut = false
	now := time.Now()
	for _, c := range n.open() {
		for _, p := range c.over(l) {
			p.mend(now)
		}
	}
}

// Reset breaks the connections between two hosts. New ones can be made.
func (n *Network) Reset(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for _, c := range n.open() {
		if c.host.name == a && c.peer.host.name == b || c.host.name == b && c.peer.host.name == a {
			c.in.finish(now, reset)
			c.in.parcels, c.in.size = nil, 0
		}
	}
}

// Kill ends the process at name as SIGKILL does: its connections end, new ones are refused until another process listens
// there. The Host of the dead one is of no more use.
func (n *Network) Kill(name string) { n.stop(name, true) }

// Vanish ends the process at name as the loss of power does: nobody is told, and nobody answers until another process
// listens there.
func (n *Network) Vanish(name string) { n.stop(name, false) }

func (n *Network) stop(name string, told bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	if h == nil || h.dead {
		return
	}
	h.dead, h.silent, h.frozen = true, !told, false
	now := time.Now()
	for _, c := range n.open() {
		if c.host != h {
			continue
		}
		how := open
		if told {
			how = c.farewell()
		}
		c.end(now, how)
	}
	for _, l := range h.listening() {
		l.close(now, told)
	}
	h.changed.fire()
}

// Freeze stops the process at name as SIGSTOP does: it neither sends nor receives, and does not notice. What others send is kept until
// there is no more room. Its timers go on, as nobody can stop goroutines: see Host.Gate.
func (n *Network) Freeze(name string) { n.freeze(name, true) }

// Thaw undoes Freeze.
func (n *Network) Thaw(name string) { n.freeze(name, false) }

func (n *Network) freeze(name string, frozen bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	if h == nil || h.dead {
		return
	}
	h.frozen = frozen
	for _, c := range n.open() {
		if c.host == h && c.closed && !frozen {
			c.end(time.Now(), c.farewell())
		} else if c.host == h {
			c.changed.fire()
		}
	}
	for _, l := range h.listening() {
		l.changed.fire()
	}
	h.changed.fire()
}
