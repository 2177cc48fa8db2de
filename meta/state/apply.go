package state

import (
	"encoding/binary"
	"fmt"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
)

// Apply executes the entries in one transaction with the positions of their groups; one that asks for a digest ends a
// transaction, and its group is pinned there. What a command finds wrong is its result; what the store finds wrong
// fails the machine.
func (m *Machine) Apply(entries []raftgroup.Entry) (results []any, err error) {
	if err := m.Err(); err != nil {
		return nil, err
	}
	defer m.recovered(&err)
	results = make([]any, 0, len(entries))
	for len(entries) > 0 {
		n, digest := throughDigest(entries)
		if results, err = m.applySome(entries[:n], results); err != nil {
			return nil, m.fail(err)
		}
		if digest {
			m.startDigest(entries[n-1].Group, entries[n-1].Index)
		}
		entries = entries[n:]
	}
	return results, nil
}

// throughDigest returns how many entries there are up to the first that asks for a digest, or all.
func throughDigest(entries []raftgroup.Entry) (n int, digest bool) {
	for i := range entries {
		if cmd, err := meta.DecodeCommand(entries[i].Data); err == nil && cmd.Op == meta.OpDigest {
			return i + 1, true
		}
	}
	return len(entries), false
}

// applySome executes the entries in one transaction and appends their results.
func (m *Machine) applySome(entries []raftgroup.Entry, results []any) ([]any, error) {
	txn := m.db.Begin()
	defer txn.Release()
	moved := make(map[uint16]raftgroup.Position)
	for i := range entries {
		e := &entries[i]
		group := uint16(e.Group)
		x := &tx{
			reader: reader{store: txn, group: group, codec: m.codec},
			txn:    txn, machine: m, index: e.Index,
		}
		results = append(results, x.entry(e.Data))
		if x.fault != nil {
			return nil, x.fault
		}
		moved[group] = m.advance(moved, group, e)
	}
	for group, at := range moved {
		x := &tx{reader: reader{store: txn, group: machineGroup, codec: m.codec}, txn: txn, machine: m}
		if err := x.encode(slotKey(machineGroup, kindPosition, group), newPosition(at)); err != nil {
			return nil, err
		}
	}
	if err := m.db.Commit(txn); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for group, at := range moved {
		m.positions[group] = at
	}
	return results, nil
}

// advance returns the position of group after e.
func (m *Machine) advance(moved map[uint16]raftgroup.Position, group uint16, e *raftgroup.Entry) raftgroup.Position {
	at, ok := moved[group]
	if !ok {
		m.mu.Lock()
		at = m.positions[group]
		m.mu.Unlock()
	}
	at.Index, at.Term = e.Index, e.Term
	if e.Members != nil {
		at.Members = e.Members
	}
	return at
}

// entry executes a command and returns its result, which may be an error.
func (x *tx) entry(data []byte) any {
	if len(data) == 0 {
		return nil
	}
	cmd, err := meta.DecodeCommand(data)
	if err != nil {
		return err
	}
	x.at = cmd.Time
	result, err := x.command(cmd)
	if err != nil {
		if x.written > 0 {
			// A refused command must leave nothing behind, or it would be half executed.
			_ = x.failed(fmt.Errorf("command %d failed after %d writes: %w", cmd.Op, x.written, err))
		}
		return err
	}
	return result
}

// command executes one operation.
func (x *tx) command(cmd meta.Command) (any, error) {
	switch cmd.Op {
	case meta.OpCreateBucket:
		return run(cmd, x.createBucket)
	case meta.OpPutBucket:
		return run(cmd, x.putBucket)
	case meta.OpOpenBucket:
		return run(cmd, x.openBucket)
	case meta.OpFreezeBucket:
		return run(cmd, x.freezeBucket)
	case meta.OpThawBucket:
		return run(cmd, x.thawBucket)
	case meta.OpRemoveBucket:
		return run(cmd, x.removeBucket)
	case meta.OpDropUploads:
		return run(cmd, x.dropUploads)
	case meta.OpSetVersioning:
		return run(cmd, x.setVersioning)
	case meta.OpPutObject:
		return run(cmd, x.putObject)
	case meta.OpDeleteObjects:
		return run(cmd, x.deleteObjects)
	case meta.OpSetTags:
		return run(cmd, x.setTags)
	case meta.OpCreateUpload:
		return run(cmd, x.createUpload)
	case meta.OpPutPart:
		return run(cmd, x.putPart)
	case meta.OpCompleteUpload:
		return run(cmd, x.completeUpload)
	case meta.OpAbortUpload:
		return run(cmd, x.abortUpload)
	case meta.OpForget:
		return run(cmd, x.forget)
	case meta.OpExpand:
		return run(cmd, x.expand)
	case meta.OpSetConsistency:
		return run(cmd, x.setConsistency)
	case meta.OpSetClusterMap:
		return run(cmd, x.setClusterMap)
	case meta.OpDigest:
		return x.index, nil
	}
	return nil, fmt.Errorf("operation %d: %w", cmd.Op, meta.ErrFormat)
}

// run decodes a command's struct and executes it.
func run[C, R any](cmd meta.Command, execute func(C) (R, error)) (any, error) {
	var c C
	if err := cmd.Into(&c); err != nil {
		return nil, err
	}
	return execute(c)
}

// groupOfSlot returns the number at the end of a slotKey.
func groupOfSlot(key []byte) uint16 { return binary.BigEndian.Uint16(key[len(key)-2:]) }
