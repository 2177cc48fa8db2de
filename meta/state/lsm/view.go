package lsm

import (
	"context"
	"math"

	"kintsugi/internal/pace"
)

// View is the state at one moment. It must be released; any number of goroutines may read it.
type View struct {
	db       *DB
	sequence uint64
	state    *state
}

// state is an immutable set of sources.
type state struct {
	lists  []*skiplist // the newest first; only the first of them grows
	tables []*table    // the newest first
}

// Get calls use with the value of key, valid during the call, and tells whether there is one.
func (v *View) Get(key []byte, use func(value []byte) error) (bool, error) {
	for _, list := range v.state.lists {
		if e, ok := list.get(key, v.sequence); ok {
			if e.deleted {
				return false, nil
			}
			return true, use(e.value)
		}
	}
	for _, t := range v.state.tables {
		found, deleted, err := t.get(key, use)
		if found || err != nil {
			return found && !deleted, err
		}
	}
	return false, nil
}

// Iterator returns an iterator over the keys from Seek's on and below upper (nil: all).
func (v *View) Iterator(upper []byte) *Iterator {
	return &Iterator{cursors: v.cursors(nil), upper: upper}
}

func (v *View) cursors(cursors []cursor) []cursor {
	for _, list := range v.state.lists {
		cursors = append(cursors, &listCursor{list: list, sequence: v.sequence})
	}
	for _, t := range v.state.tables {
		cursors = append(cursors, newTableCursor(t))
	}
	return cursors
}

// Verify reads every block of the view's tables, at most bytesPerSecond (0: no limit). The first
// damage is its error.
func (v *View) Verify(ctx context.Context, bytesPerSecond int64) error {
	rate := pace.Pace{PerSecond: bytesPerSecond}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for _, t := range v.state.tables {
		for i := range t.blocks {
			if _, err := t.read(i, buffer); err != nil {
				return err
			}
			if err := rate.Wait(ctx, int64(t.blocks[i].length)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Release lets go of the tables that the view held.
func (v *View) Release() { v.db.release(v.state) }

// Txn collects writes over a view. Its reads see them. One goroutine uses it.
type Txn struct {
	View
	writes *skiplist
	count  uint64
}

// Put sets key to value, both of which it keeps.
func (t *Txn) Put(key, value []byte) { t.write(entry{key: key, value: value}) }

// Delete removes key, which it keeps.
func (t *Txn) Delete(key []byte) { t.write(entry{key: key, deleted: true}) }

func (t *Txn) write(e entry) {
	t.count++
	e.sequence = t.count
	t.writes.insert(e)
}

// Bytes returns about what the writes take in memory.
func (t *Txn) Bytes() int64 { return t.writes.bytes.Load() }

// Get is View's, over the writes.
func (t *Txn) Get(key []byte, use func(value []byte) error) (bool, error) {
	if e, ok := t.writes.get(key, math.MaxUint64); ok {
		if e.deleted {
			return false, nil
		}
		return true, use(e.value)
	}
	return t.View.Get(key, use)
}

// Iterator is View's, over the writes up to now.
func (t *Txn) Iterator(upper []byte) *Iterator {
	own := &listCursor{list: t.writes, sequence: t.count}
	return &Iterator{cursors: t.cursors([]cursor{own}), upper: upper}
}
