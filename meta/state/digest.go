package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"

	"kintsugi/meta/state/lsm"
)

// digestBytesPerSecond bounds how fast groups are read to sum them up.
const digestBytesPerSecond = 16 << 20

// digestStep is after how many bytes a digest looks whether it has to wait.
const digestStep = 64 << 10

// Errors of Digest.
var (
	ErrNoDigest   = errors.New("no digest was taken there")     // or it was followed by another
	ErrDigestOpen = errors.New("the digest is being summed up") // ask again later
)

// digest sums up a group as of one index. Replicas that executed the same commands have the same.
type digest struct {
	index  uint64
	cancel context.CancelFunc
	done   bool // sum and err are set
	sum    uint64
	err    error
}

// Digest returns the sum over the records that group had when the command at index, a meta.Digest, was executed.
func (m *Machine) Digest(group uint32, index uint64) (sum uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.digests[uint16(group)]
	switch {
	case d == nil || d.index != index:
		return 0, fmt.Errorf("group %d at %d: %w", group, index, ErrNoDigest)
	case !d.done:
		return 0, ErrDigestOpen
	}
	return d.sum, d.err
}

// startDigest pins the present state and sums it up in the background, instead of what went before.
func (m *Machine) startDigest(group uint32, index uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	d := &digest{index: index, cancel: cancel}
	view := m.db.View()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		cancel()
		view.Release()
		return
	}
	if old := m.digests[uint16(group)]; old != nil {
		old.cancel()
	}
	m.digests[uint16(group)] = d
	m.done.Go(func() {
		defer cancel()
		defer view.Release()
		sum, err := m.sumUp(ctx, view, uint16(group))
		m.mu.Lock()
		defer m.mu.Unlock()
		d.done, d.sum, d.err = true, sum, err
	})
}

// sumUp reads every record of the group, slowly. A damaged one fails the machine.
func (m *Machine) sumUp(ctx context.Context, view *lsm.View, group uint16) (sum uint64, err error) {
	defer m.recovered(&err)
	prefix := binary.BigEndian.AppendUint16(nil, group)
	it := view.Iterator(behind(prefix))
	defer it.Close()
	hash := xxh3.New()
	unpaid := 0
	var length [4]byte
	for ok := it.Seek(prefix); ok; ok = it.Next() {
		key, value := it.Key(), it.Value()
		if _, err := open(key, value); err != nil {
			return 0, m.fail(err)
		}
		binary.LittleEndian.PutUint32(length[:], uint32(len(key)))
		hash.Write(length[:])
		hash.Write(key)
		hash.Write(value[:sumSize]) // it covers the rest
		if unpaid += len(key) + len(value); unpaid >= digestStep {
			if err := m.digestPace.Wait(ctx, int64(unpaid)); err != nil {
				return 0, err
			}
			unpaid = 0
		}
	}
	if err := it.Err(); err != nil {
		return 0, m.fail(err)
	}
	return hash.Sum64(), ctx.Err()
}
