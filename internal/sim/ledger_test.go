package sim

import (
	"encoding/gob"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"kintsugi/meta/raftgroup"
)

// ledger is a raftgroup.Machine in memory: each group is a list of commands, whose positions are the results.
type ledger struct {
	mu     sync.Mutex // guards what follows
	groups map[uint32]page
	synced map[uint32]page
}

// page is the list of one group. It is replaced, or grows beyond what others see of it.
type page struct {
	At       raftgroup.Position
	Commands []string
}

func newLedger(pages map[uint32]page) *ledger {
	l := &ledger{groups: map[uint32]page{}, synced: map[uint32]page{}}
	maps.Copy(l.groups, pages)
	maps.Copy(l.synced, pages)
	return l
}

// durable returns what a crash leaves.
func (l *ledger) durable() map[uint32]page {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.synced)
}

// read returns how long the list of group is.
func (l *ledger) read(group uint32) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.groups[group].Commands)
}

func (l *ledger) commands(group uint32) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.groups[group].Commands)
}

// Applied implements raftgroup.Machine.
func (l *ledger) Applied(group uint32) (raftgroup.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.groups[group].At, nil
}

// Apply implements raftgroup.Machine.
func (l *ledger) Apply(entries []raftgroup.Entry) ([]any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	results := make([]any, len(entries))
	for i, e := range entries {
		p := l.groups[e.Group]
		if e.Index <= p.At.Index {
			return nil, fmt.Errorf("group %d: entry %d after %d", e.Group, e.Index, p.At.Index)
		}
		p.At.Index, p.At.Term = e.Index, e.Term
		if e.Members != nil {
			p.At.Members = e.Members
		}
		if len(e.Data) > 0 {
			p.Commands = append(slices.Clip(p.Commands), string(e.Data))
			results[i] = len(p.Commands)
		}
		l.groups[e.Group] = p
	}
	return results, nil
}

// Sync implements raftgroup.Machine.
func (l *ledger) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.synced = maps.Clone(l.groups)
	return nil
}

// Snapshot implements raftgroup.Machine.
func (l *ledger) Snapshot(group uint32) (raftgroup.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return pinned{l.groups[group]}, nil
}

// Restore implements raftgroup.Machine. A crash within it leaves the old state: a host whose state is gone counts as
// damaged, and nobody replaces it here.
func (l *ledger) Restore(group uint32, at raftgroup.Position, r io.Reader) error {
	p := page{At: at}
	if err := gob.NewDecoder(r).Decode(&p.Commands); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups[group], l.synced[group] = p, p
	return nil
}

// pinned is a page as a raftgroup.Snapshot.
type pinned struct{ page }

func (p pinned) Position() raftgroup.Position { return p.At }
func (p pinned) Close() error                 { return nil }

func (p pinned) WriteTo(w io.Writer) (int64, error) {
	return 0, gob.NewEncoder(w).Encode(p.Commands)
}
