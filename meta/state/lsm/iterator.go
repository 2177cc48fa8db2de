package lsm

import "bytes"

// cursor walks over the entries of one source, one per key, in order of keys.
type cursor interface {
	seek(key []byte)
	next()           // only where current is not nil
	current() *entry // nil at the end and after an error; valid until the cursor moves
	err() error
	close()
}

// Iterator walks over the keys of a range in order. It must be closed.
type Iterator struct {
	cursors []cursor // the newest first
	upper   []byte   // exclusive; nil: none
	at      *entry
	failed  error

	keepDeleted bool // visit deleted keys, too
}

// Seek goes to the first key that is not below key and tells whether there is one.
func (it *Iterator) Seek(key []byte) bool {
	for _, c := range it.cursors {
		c.seek(key)
	}
	return it.settle()
}

// Next goes to the next key and tells whether there is one.
func (it *Iterator) Next() bool {
	if it.at == nil {
		return false
	}
	it.step()
	return it.settle()
}

// step moves all cursors that are at the current key.
func (it *Iterator) step() {
	at := it.at
	last := -1
	for i, c := range it.cursors {
		e := c.current()
		if e == nil {
			continue
		}
		if e == at {
			last = i // its key must stay readable while the others are compared
		} else if bytes.Equal(e.key, at.key) {
			c.next()
		}
	}
	if last >= 0 {
		it.cursors[last].next()
	}
}

// settle finds the smallest key, of which the newest version counts, and passes over deleted ones.
func (it *Iterator) settle() bool {
	for {
		it.at = nil
		for _, c := range it.cursors {
			if err := c.err(); err != nil {
				it.failed, it.at = err, nil
				return false
			}
			e := c.current()
			if e != nil && (it.at == nil || bytes.Compare(e.key, it.at.key) < 0) {
				it.at = e
			}
		}
		if it.at == nil {
			return false
		}
		if it.upper != nil && bytes.Compare(it.at.key, it.upper) >= 0 {
			it.at = nil
			return false
		}
		if !it.at.deleted || it.keepDeleted {
			return true
		}
		it.step()
	}
}

// Key returns the current key, valid until the iterator moves.
func (it *Iterator) Key() []byte { return it.at.key }

// Value returns the current value, valid until the iterator moves.
func (it *Iterator) Value() []byte { return it.at.value }

// Err tells why the iterator ended before the end of its range.
func (it *Iterator) Err() error { return it.failed }

// Close releases what the iterator holds.
func (it *Iterator) Close() {
	for _, c := range it.cursors {
		c.close()
	}
	it.cursors, it.at = nil, nil
}
