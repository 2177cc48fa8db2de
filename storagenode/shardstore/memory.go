package shardstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"kintsugi/placement"
)

// Memory is a store without a disk, for tests. It keeps to the same contract
// as Store (shardtest checks both) and can be told to misbehave.
type Memory struct {
	mu     sync.RWMutex // guards everything below
	shards map[placement.ShardID]memoryShard
	err    error // why it failed
	full   bool

	failed chan struct{}
}

type memoryShard struct {
	info    Info
	payload []byte
	corrupt bool
	deleted bool
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{shards: map[placement.ShardID]memoryShard{}, failed: make(chan struct{})}
}

// Put keeps a copy of payload.
func (m *Memory) Put(ctx context.Context, h Header, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.shards[h.ID]
	switch {
	case m.err != nil:
		return m.wrap(h.ID, ErrFailed)
	case len(payload) > MaxPayload:
		return m.wrap(h.ID, ErrTooLarge)
	case old.deleted:
		return m.wrap(h.ID, ErrDeleted)
	case ok && !old.corrupt:
		return nil
	case m.full:
		return m.wrap(h.ID, ErrFull)
	}
	info := Info{Header: h, Size: int64(len(payload)), Written: time.Now().Unix()}
	m.shards[h.ID] = memoryShard{info: info, payload: slices.Clone(payload)}
	return nil
}

// ReadAt fills p with the shard's bytes from off on, or fails.
func (m *Memory) ReadAt(ctx context.Context, id placement.ShardID, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, err := m.get(id)
	if err != nil {
		return err
	}
	if off < 0 || off+int64(len(p)) > int64(len(s.payload)) {
		return m.wrap(id, ErrRange)
	}
	copy(p, s.payload[off:])
	return nil
}

// Stat tells what the shard is.
func (m *Memory) Stat(ctx context.Context, id placement.ShardID) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.err == nil && m.shards[id].deleted {
		return Info{}, m.wrap(id, ErrDeleted)
	}
	s, err := m.get(id)
	return s.info, err
}

// get returns a healthy shard. The caller holds mu.
func (m *Memory) get(id placement.ShardID) (memoryShard, error) {
	s, ok := m.shards[id]
	switch {
	case m.err != nil:
		return memoryShard{}, m.wrap(id, ErrFailed)
	case !ok || s.deleted:
		return memoryShard{}, m.wrap(id, ErrNotFound)
	case s.corrupt:
		return memoryShard{}, m.wrap(id, ErrCorrupt)
	}
	return s, nil
}

// Delete leaves a tombstone for every id.
func (m *Memory) Delete(ctx context.Context, ids []placement.ShardID) error {
	return m.remove(ctx, ids, memoryShard{deleted: true})
}

// Drop forgets the shards; they may be written again.
func (m *Memory) Drop(ctx context.Context, ids []placement.ShardID) error {
	return m.remove(ctx, ids, memoryShard{})
}

func (m *Memory) remove(ctx context.Context, ids []placement.ShardID, left memoryShard) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return ErrFailed
	}
	for _, id := range ids {
		switch {
		case left.deleted:
			m.shards[id] = left
		case !m.shards[id].deleted:
			delete(m.shards, id)
		}
	}
	return nil
}

// List returns at most limit healthy shards of the partition that come after the given one.
func (m *Memory) List(ctx context.Context, partition uint32, after placement.ShardID, limit int) ([]Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.err != nil {
		return nil, ErrFailed
	}
	var list []Info
	for _, s := range m.healthy(partition) {
		if compareID(s.ID, after) > 0 {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b Info) int { return compareID(a.ID, b.ID) })
	return list[:min(limit, len(list))], nil
}

// Digest sums up the chunks of the partition.
func (m *Memory) Digest(ctx context.Context, partition uint32) (Digest, error) {
	if err := ctx.Err(); err != nil {
		return Digest{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.err != nil {
		return Digest{}, ErrFailed
	}
	seen := map[placement.ShardID]bool{}
	var d Digest
	for _, s := range m.healthy(partition) {
		d.Shards += shardTerm(s.ID)
		chunk := placement.ShardID{Blob: s.ID.Blob, Chunk: s.ID.Chunk}
		if !seen[chunk] {
			seen[chunk] = true
			d.Count++
			d.Sum += ChunkHash(chunk.Blob, chunk.Chunk)
			d.Bytes += uint64(s.ChunkSize)
		}
	}
	return d, nil
}

// healthy returns the readable shards of a partition, unordered. The caller holds mu.
func (m *Memory) healthy(partition uint32) []Info {
	var list []Info
	for _, s := range m.shards {
		if s.info.Partition == partition && !s.deleted && !s.corrupt {
			list = append(list, s.info)
		}
	}
	return list
}

// Usage counts what is kept.
func (m *Memory) Usage() Usage {
	m.mu.RLock()
	defer m.mu.RUnlock()
	u := Usage{CapacityBytes: 1 << 40, FreeBytes: 1 << 40, Full: m.full}
	for _, s := range m.shards {
		switch {
		case s.deleted:
			u.Tombstones++
			continue
		case s.corrupt:
			u.Corrupt++
		default:
			u.Shards++
		}
		u.LiveBytes += uint64(len(s.payload))
	}
	u.UsedBytes = u.LiveBytes
	u.FreeBytes -= u.UsedBytes
	return u
}

// Scrub reports the shards that Damage has hit.
func (m *Memory) Scrub(ctx context.Context, _ int64, report func(placement.ShardID, error)) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.err != nil {
		return ErrFailed
	}
	for id, s := range m.shards {
		if s.corrupt {
			report(id, m.wrap(id, ErrCorrupt))
		}
	}
	return ctx.Err()
}

// Failed is closed when the store has failed.
func (m *Memory) Failed() <-chan struct{} { return m.failed }

// Err tells why the store has failed; nil while it works.
func (m *Memory) Err() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.err
}

// Close makes every later call fail.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = errClosed
	}
	return nil
}

// Fail makes the store fail as a vanished drive does.
func (m *Memory) Fail() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = ErrFailed
		close(m.failed)
	}
}

// Damage makes a shard corrupt, as flipped bits on the disk do.
func (m *Memory) Damage(id placement.ShardID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.shards[id]; ok && !s.deleted {
		s.corrupt = true
		m.shards[id] = s
	}
}

// SetFull makes the store refuse writes, or take them again.
func (m *Memory) SetFull(full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = full
}

func (m *Memory) wrap(id placement.ShardID, err error) error { return &Error{Shard: id, Err: err} }

// errClosed is what Err tells after Close.
var errClosed = errors.New("store closed")
