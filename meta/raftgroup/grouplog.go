package raftgroup

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

const (
	// cachedBytesPerGroup bounds the tail of a group's log kept in memory; what is older is read back from the file.
	cachedBytesPerGroup = 1 << 20
	// entryOverhead is what an entry costs in memory beside its data, bytes.
	entryOverhead = 160
)

// ref tells where an entry is in the log.
type ref struct {
	segment *segment
	offset  uint32
	length  uint32
	term    uint64
}

// members is a configuration that was set by hand (at birth or by force), not by an entry.
type members struct {
	index uint64 // as of this applied index
	term  uint64 // entries that change members are void up to this term
	state *raftpb.ConfState
}

// groupLog is the log of one group: where its entries are, and the newest of them. It is raft's
// Storage. Only the host's loop may use it.
type groupLog struct {
	id        uint32
	hard      *raftpb.HardState // nil until there is one
	members   *members          // nil for a replica that joined
	state     *raftpb.ConfState // of the start of the raft instance
	start     uint64            // the log begins behind this index
	startTerm uint64
	refs      []ref // of start+1, start+2, ...
	cache     []*raftpb.Entry
	cached    int                              // bytes in cache
	snapshot  func() (*raftpb.Snapshot, error) // what to send to a replica that is too far behind
	onError   func(error)                      // told of what could not be read back
	started   bool                             // start is known from a record, not guessed from the first entry
}

func (g *groupLog) last() uint64 { return g.start + uint64(len(g.refs)) }

// append adds an entry that is in the log at r and drops those behind it. It fails if there is a gap.
func (g *groupLog) append(e *raftpb.Entry, r ref) error {
	if err := g.place(e.GetIndex(), r); err != nil {
		return err
	}
	g.cache = append(g.cache, e)
	g.cached += len(e.GetData()) + entryOverhead
	g.trim()
	return nil
}

// place is append without the entry itself.
func (g *groupLog) place(index uint64, r ref) error {
	if index <= g.start || index > g.last()+1 {
		return fmt.Errorf("group %d: entry %d after %d: %w", g.id, index, g.last(), ErrDamaged)
	}
	if index <= g.last() {
		g.truncate(index)
	}
	g.refs = append(g.refs, r)
	return nil
}

// truncate drops the entries from index on.
func (g *groupLog) truncate(index uint64) {
	cacheFirst := g.last() + 1 - uint64(len(g.cache))
	g.refs = g.refs[:index-g.start-1]
	keep := 0
	if index > cacheFirst {
		keep = int(index - cacheFirst)
	}
	for _, e := range g.cache[keep:] {
		g.cached -= len(e.GetData()) + entryOverhead
	}
	clear(g.cache[keep:])
	g.cache = g.cache[:keep]
}

// trim keeps the cache within its bound.
func (g *groupLog) trim() {
	n := 0
	for g.cached > cachedBytesPerGroup && n < len(g.cache)-1 {
		g.cached -= len(g.cache[n].GetData()) + entryOverhead
		g.cache[n] = nil
		n++
	}
	g.cache = g.cache[n:]
}

// startAt makes the log begin behind index: entries up to it are dropped, and all of
// them unless the entry at index has term.
func (g *groupLog) startAt(index, term uint64) {
	g.started = true
	if index >= g.start && index <= g.last() {
		if t, err := g.Term(index); err == nil && (index == g.start || t == term) {
			g.compact(index)
			g.startTerm = term
			return
		}
	}
	g.start, g.startTerm = index, term
	g.refs, g.cache, g.cached = nil, nil, 0
}

// compact drops the entries up to index, which the log must hold.
func (g *groupLog) compact(index uint64) {
	if index <= g.start {
		return
	}
	cacheFirst := g.last() + 1 - uint64(len(g.cache))
	n := int(index - g.start)
	g.startTerm = g.refs[n-1].term
	g.refs = append([]ref(nil), g.refs[n:]...)
	g.start = index
	drop := 0
	if index >= cacheFirst {
		drop = int(index + 1 - cacheFirst)
	}
	for _, e := range g.cache[:drop] {
		g.cached -= len(e.GetData()) + entryOverhead
	}
	g.cache = append([]*raftpb.Entry(nil), g.cache[drop:]...)
}

// InitialState implements raft.Storage.
func (g *groupLog) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return g.hard, raftpb.EnsureConfState(g.state), nil
}

// Entries implements raft.Storage. The slice is the caller's own.
func (g *groupLog) Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	if lo <= g.start {
		return nil, raft.ErrCompacted
	}
	if hi > g.last()+1 {
		return nil, raft.ErrUnavailable
	}
	cacheFirst := g.last() + 1 - uint64(len(g.cache))
	var out []*raftpb.Entry
	var total uint64
	for i := lo; i < hi; i++ {
		r := g.refs[i-g.start-1]
		if total += uint64(r.length); total > maxBytes && len(out) > 0 {
			break
		}
		if i >= cacheFirst {
			out = append(out, g.cache[i-cacheFirst])
			continue
		}
		e, err := g.read(i, r)
		if err != nil {
			g.onError(err)
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// read brings the entry index back from the file and verifies it.
func (g *groupLog) read(index uint64, r ref) (*raftpb.Entry, error) {
	p := make([]byte, r.length)
	if err := r.segment.readAt(p, int64(r.offset)); err != nil {
		return nil, fmt.Errorf("read entry %d of group %d: %w", index, g.id, err)
	}
	rec, _, err := decodeRecord(p)
	if err != nil {
		return nil, fmt.Errorf("entry %d of group %d: %w", index, g.id, err)
	}
	if rec.group != g.id || rec.index != index || rec.term != r.term {
		return nil, fmt.Errorf("entry %d of group %d: another record in its place: %w", index, g.id, ErrDamaged)
	}
	return entryOf(rec), nil
}

// Term implements raft.Storage.
func (g *groupLog) Term(index uint64) (uint64, error) {
	switch {
	case index < g.start:
		return 0, raft.ErrCompacted
	case index == g.start:
		return g.startTerm, nil
	case index > g.last():
		return 0, raft.ErrUnavailable
	}
	return g.refs[index-g.start-1].term, nil
}

// LastIndex implements raft.Storage.
func (g *groupLog) LastIndex() (uint64, error) { return g.last(), nil }

// FirstIndex implements raft.Storage.
func (g *groupLog) FirstIndex() (uint64, error) { return g.start + 1, nil }

// Snapshot implements raft.Storage.
func (g *groupLog) Snapshot() (*raftpb.Snapshot, error) { return g.snapshot() }

// entryOf makes the raft entry of a record; the data stays shared.
func entryOf(r record) *raftpb.Entry {
	typ := raftpb.EntryNormal
	switch r.kind {
	case kindConfChange:
		typ = raftpb.EntryConfChange
	case kindConfChangeV2:
		typ = raftpb.EntryConfChangeV2
	}
	e := &raftpb.Entry{Type: typ.Enum(), Index: new(r.index), Term: new(r.term)}
	if len(r.data) > 0 {
		e.Data = r.data
	}
	return e
}

// recordOf makes the record of a raft entry; the data stays shared.
func recordOf(group uint32, e *raftpb.Entry) record {
	kind := kindEntry
	switch e.GetType() {
	case raftpb.EntryConfChange:
		kind = kindConfChange
	case raftpb.EntryConfChangeV2:
		kind = kindConfChangeV2
	}
	return record{group: group, kind: kind, index: e.GetIndex(), term: e.GetTerm(), data: e.GetData()}
}
