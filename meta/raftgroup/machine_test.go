package raftgroup

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// listMachine is a Machine in memory whose state is the list of the commands it executed. What was not synced is
// lost by crash.
type listMachine struct {
	mu     sync.Mutex
	groups map[uint32]listState
	synced map[uint32]listState
	fail   error
	keep   bool // keep the commands; else only their number

	brokenStreams  int  // so many snapshots break off
	brokenRestore  bool // the next restore ends before its state is there
	endlessStreams bool // snapshots never end
	restores       atomic.Int64
	onRestore      func()
}

type listState struct {
	At       Position
	Commands []string
	Count    int
}

func newListMachine() *listMachine {
	return &listMachine{groups: map[uint32]listState{}, synced: map[uint32]listState{}, keep: true}
}

func (m *listMachine) Applied(group uint32) (Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.groups[group].At, nil
}

var errRefused = errors.New("refused by the state")

func (m *listMachine) Apply(entries []Entry) ([]any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	results := make([]any, len(entries))
	for i, e := range entries {
		s := m.groups[e.Group]
		if e.Index <= s.At.Index || e.Index != s.At.Index+1 && s.At.Index > firstIndex {
			return nil, fmt.Errorf("group %d: entry %d after %d", e.Group, e.Index, s.At.Index)
		}
		s.At.Index, s.At.Term = e.Index, e.Term
		if e.Members != nil {
			s.At.Members = e.Members
		}
		if len(e.Data) > 0 {
			s.Count++
			if m.keep {
				s.Commands = append(s.Commands, string(e.Data))
			}
			results[i] = s.Count
			if string(e.Data) == "refuse" {
				results[i] = errRefused
			}
		}
		m.groups[e.Group] = s
	}
	return results, nil
}

func (m *listMachine) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced = maps.Clone(m.groups)
	return m.fail
}

// crash loses what was not synced.
func (m *listMachine) crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.groups = maps.Clone(m.synced)
}

func (m *listMachine) commands(group uint32) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.groups[group].Commands)
}

func (m *listMachine) Snapshot(group uint32) (Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.groups[group]
	s.Commands = slices.Clone(s.Commands)
	broken := m.brokenStreams > 0
	if broken {
		m.brokenStreams--
	}
	return &listSnapshot{s, broken, m.endlessStreams}, nil
}

func (m *listMachine) Restore(group uint32, at Position, r io.Reader) error {
	m.restores.Add(1)
	if m.onRestore != nil {
		m.onRestore()
	}
	m.mu.Lock()
	delete(m.groups, group)
	delete(m.synced, group)
	m.mu.Unlock()
	s := listState{At: at}
	p, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if m.brokenRestore {
		m.brokenRestore = false
		return errors.New("restore broke off")
	}
	dec := gob.NewDecoder(bytes.NewReader(p))
	if err := errors.Join(dec.Decode(&s.Commands), dec.Decode(&s.Count)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.groups[group], m.synced[group] = s, s
	return nil
}

type listSnapshot struct {
	state           listState
	broken, endless bool
}

func (s *listSnapshot) Position() Position { return s.state.At }
func (s *listSnapshot) Close() error       { return nil }

func (s *listSnapshot) WriteTo(w io.Writer) (int64, error) {
	enc := gob.NewEncoder(w)
	if s.broken {
		return 0, errors.Join(enc.Encode(s.state.Commands[:1]), errors.New("stream broke"))
	}
	for s.endless {
		if _, err := w.Write([]byte{0}); err != nil {
			return 0, err
		}
		time.Sleep(time.Millisecond)
	}
	return 0, errors.Join(enc.Encode(s.state.Commands), enc.Encode(s.state.Count))
}
