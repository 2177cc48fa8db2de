package membership

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"kintsugi/placement"
)

// Timing of leases.
type Timing struct {
	// Lease is how long a node is up after a beat; 0 means 2 s.
	Lease time.Duration
	// Grant is how long a node may write shards after it sent a beat; 0 means twice Lease. It is longer, so
	// that an election of the coordinator stops no write. A node is down after Lease, which
	// steers reads and writes around it; its name, its drives and its slots go to others only after Grant.
	Grant time.Duration
}

func (t Timing) withDefaults() Timing {
	if t.Lease <= 0 {
		t.Lease = 2 * time.Second
	}
	if t.Grant <= 0 {
		t.Grant = 2 * t.Lease
	}
	return t
}

// Table is what a coordinator knows of the nodes: who is up, and who has which drive. It does no I/O and keeps no
// clock; one goroutine at a time.
type Table struct {
	timing  Timing
	m       *placement.Map // nil: there is none yet
	nodes   map[string]*member
	holders map[placement.DriveID]string    // the node that has the drive, whether it is up or not
	gone    map[placement.DriveID]time.Time // since when a drive of the map is not there
	seen    map[placement.DriveID]bool      // drives that were there in the time of this table
	flaps   map[placement.DriveID]*flapping
	version uint64    // of what Peers returns
	news    time.Time // when a drive came that the map must hear of
}

// member is a node of the table.
type member struct {
	node   Node
	drives []DriveReport // without those that another node has
	heard  time.Time     // its last beat
	up     bool
	since  time.Time // when it became what it is
	former uint64    // incarnation that this one took over from
	beaten bool      // it sent a beat in the time of this table; else the rest is hearsay
	last   Beat      // without drives and what is clean
}

// Limits of a table.
const (
	maxMembers  = maxPeers
	forgetAfter = time.Hour // a node without drives that stays away
)

// NewTable returns the table of a coordinator that begins now. It counts everybody as just heard of: peers are what it
// was told as a node by the coordinator before it, and m may know more. version should be random in its upper bits,
// for nobody must mistake its peers for those of another table.
func NewTable(now time.Time, timing Timing, m *placement.Map, peers []Peer, version uint64) *Table {
	t := &Table{
		timing: timing.withDefaults(), m: m, nodes: map[string]*member{}, holders: map[placement.DriveID]string{},
		gone: map[placement.DriveID]time.Time{}, seen: map[placement.DriveID]bool{},
		flaps: map[placement.DriveID]*flapping{}, version: version, news: now,
	}
	for _, p := range peers {
		e := &member{node: p.Node, up: p.Up, since: now}
		if p.Up {
			e.heard = now
		}
		for _, id := range p.Drives {
			e.drives = append(e.drives, DriveReport{ID: id})
			t.holders[id] = p.Node.Name
			t.seen[id] = t.seen[id] || p.Up
		}
		t.nodes[p.Node.Name] = e
	}
	t.expectNodes(now)
	return t
}

// expectNodes makes an entry for each node that only the map knows.
func (t *Table) expectNodes(now time.Time) {
	if t.m == nil {
		return
	}
	for _, d := range t.m.Drives {
		if t.nodes[d.Node] == nil {
			t.nodes[d.Node] = &member{node: Node{Name: d.Node, Zone: d.Zone}, heard: now, since: now}
		}
	}
}

// SetMap tells the table of a new map.
func (t *Table) SetMap(now time.Time, m *placement.Map) {
	if t.m != nil && m.Epoch <= t.m.Epoch {
		return
	}
	t.noteFlapping(now, t.m, m)
	t.m = m
	t.expectNodes(now)
}

// Heard is what the table says to a beat.
type Heard struct {
	Refused string              // why the node may not take part
	Twice   []placement.DriveID // drives of the beat that another node has
}

// Beat takes note of a heartbeat.
func (t *Table) Beat(now time.Time, b *Beat) Heard {
	if reason := t.refuse(now, b.Node); reason != "" {
		return Heard{Refused: reason}
	}
	e := t.nodes[b.Node.Name]
	if e == nil {
		e = &member{since: now}
		t.nodes[b.Node.Name] = e
	}
	wasUp := e.up
	if e.node != b.Node || e.up == b.Leaving {
		if e.node.Incarnation != b.Node.Incarnation {
			e.former = e.node.Incarnation
		}
		if e.node.Incarnation != b.Node.Incarnation || e.up == b.Leaving {
			e.since = now
		}
		e.node, e.up = b.Node, !b.Leaving
		t.version++
	}
	e.heard, e.beaten = now, true
	e.last = *b
	e.last.Drives, e.last.Clean = nil, nil
	if b.Leaving {
		e.heard = now.Add(-t.timing.Grant) // it writes no more
	}
	return Heard{Twice: t.claim(now, e, b.Drives, wasUp)}
}

// refuse tells why a node may not take part; "" if it may.
func (t *Table) refuse(now time.Time, n Node) string {
	e := t.nodes[n.Name]
	switch {
	case e == nil && len(t.nodes) >= maxMembers:
		return fmt.Sprintf("the cluster has %d nodes already", len(t.nodes))
	case e == nil || e.node.Incarnation == n.Incarnation || e.node.Incarnation == 0 || !t.live(now, e):
		return ""
	case e.node.Addr != n.Addr:
		return fmt.Sprintf("another node named %s is alive at %s: give each node its own --node", n.Name, e.node.Addr)
	case e.former == n.Incarnation:
		return "a younger process of this node runs at the same address"
	}
	return ""
}

// live tells whether the node may still write.
func (t *Table) live(now time.Time, e *member) bool {
	return e != nil && now.Sub(e.heard) < t.timing.Grant
}

// claim decides which of the reported drives the node has, and returns those that another live node has.
func (t *Table) claim(now time.Time, e *member, reports []DriveReport, wasUp bool) (twice []placement.DriveID) {
	name := e.node.Name
	before := e.drives
	e.drives = make([]DriveReport, 0, len(reports))
	for _, r := range reports {
		switch t.mayClaim(now, name, r.ID) {
		case elsewhere:
			twice = append(twice, r.ID)
			continue
		case notYet:
			continue
		}
		if t.holders[r.ID] != name {
			t.drop(t.holders[r.ID], r.ID)
			t.holders[r.ID] = name
		}
		if has(e.drives, r.ID) {
			continue
		}
		e.drives = append(e.drives, r)
		t.seen[r.ID] = true
		if !wasUp || !has(before, r.ID) {
			t.arrived(now, e, r.ID)
		}
	}
	for _, r := range before {
		if !has(e.drives, r.ID) && t.holders[r.ID] == name {
			delete(t.holders, r.ID)
			t.version++
		}
	}
	return twice
}

func has(drives []DriveReport, id placement.DriveID) bool {
	return slices.ContainsFunc(drives, func(r DriveReport) bool { return r.ID == id })
}

type claimVerdict int

const (
	granted   claimVerdict = iota
	elsewhere              // another live node has it
	notYet                 // whether another has it will be known soon
)

// mayClaim lets the map decide between two that have the same drive: it is the copy that has no claim.
func (t *Table) mayClaim(now time.Time, name string, id placement.DriveID) claimVerdict {
	by := name // the node that should have it
	if t.m != nil {
		if d, ok := t.m.Drive(id); ok {
			by = d.Node
		}
	}
	holder := t.holders[id]
	rival := t.nodes[holder]
	switch {
	case by == name && holder != "" && holder != name && !t.inMap(id) && t.live(now, rival):
		return elsewhere // who came first
	case by == name:
		return granted
	case holder != "" && holder != name && t.live(now, rival) && rival.up:
		return elsewhere
	case holder != "" && holder != name && t.live(now, rival):
		return notYet // its node may still write to it
	case holder == name:
		return granted
	}
	if e := t.nodes[by]; t.live(now, e) && !e.beaten {
		return notYet
	}
	return granted
}

func (t *Table) inMap(id placement.DriveID) bool {
	if t.m == nil {
		return false
	}
	_, ok := t.m.Drive(id)
	return ok
}

// drop takes a drive from a node that lost it to another.
func (t *Table) drop(name string, id placement.DriveID) {
	if e := t.nodes[name]; e != nil {
		e.drives = slices.DeleteFunc(e.drives, func(r DriveReport) bool { return r.ID == id })
	}
}

// arrived takes note of a drive that came to a node.
func (t *Table) arrived(now time.Time, e *member, id placement.DriveID) {
	t.version++
	if t.m == nil {
		t.news = now
		return
	}
	if d, ok := t.m.Drive(id); !ok || d.State == placement.Out || d.Node != e.node.Name || d.Zone != e.node.Zone {
		t.news = now
	}
}

// Tick ends leases. It tells whether anything changed.
func (t *Table) Tick(now time.Time) bool {
	before := t.version
	for name, e := range t.nodes {
		if e.up && now.Sub(e.heard) >= t.timing.Lease {
			e.up, e.since = false, now
			t.version++
		}
		silent := e.node.Addr == "" // known from the map only, which named it before
		if !e.up && len(e.drives) == 0 && (silent || now.Sub(e.since) > forgetAfter) && !t.expected(name) {
			delete(t.nodes, name)
			t.version++
		}
	}
	t.countGone(now)
	return t.version != before
}

// expected tells whether the map has drives at the node.
func (t *Table) expected(name string) bool {
	return t.m != nil && slices.ContainsFunc(t.m.Drives, func(d placement.Drive) bool { return d.Node == name })
}

// countGone keeps since when each drive of the map is away.
func (t *Table) countGone(now time.Time) {
	if t.m == nil {
		return
	}
	for _, d := range t.m.Drives {
		switch {
		case t.Present(d.ID):
			delete(t.gone, d.ID)
		case t.gone[d.ID].IsZero():
			t.gone[d.ID] = now
		}
	}
}

// Forgive counts everybody who is up as just heard of: the coordinator itself was away.
func (t *Table) Forgive(now time.Time) {
	for _, e := range t.nodes {
		if e.up {
			e.heard = now
		}
	}
}

// Present tells whether a node that is up has the drive.
func (t *Table) Present(id placement.DriveID) bool {
	e := t.nodes[t.holders[id]]
	return e != nil && e.up
}

// Version is that of what Peers returns.
func (t *Table) Version() uint64 { return t.version }

// Peers lists the nodes by name.
func (t *Table) Peers() []Peer {
	peers := make([]Peer, 0, len(t.nodes))
	for _, name := range slices.Sorted(maps.Keys(t.nodes)) {
		e := t.nodes[name]
		p := Peer{Node: e.node, Up: e.up}
		for _, r := range e.drives {
			p.Drives = append(p.Drives, r.ID)
		}
		peers = append(peers, p)
	}
	return peers
}
