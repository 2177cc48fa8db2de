package lsm

import (
	"bytes"
	"math/rand/v2"
	"sync/atomic"
)

const maxHeight = 12

// skiplist keeps entries by key, the newest first among those of one key. One
// goroutine inserts, any number reads beside it; nothing is ever removed.
type skiplist struct {
	head   *node
	height atomic.Int32
	bytes  atomic.Int64 // of keys, values and nodes, about
}

type node struct {
	entry
	next []atomic.Pointer[node]
}

// entry is a version of a key.
type entry struct {
	key      []byte
	value    []byte
	sequence uint64
	deleted  bool
}

// nodeOverhead is about what a node takes beside its key and value, bytes.
const nodeOverhead = 128

func newSkiplist() *skiplist {
	s := &skiplist{head: &node{next: make([]atomic.Pointer[node], maxHeight)}}
	s.height.Store(1)
	return s
}

// before tells whether n sorts before (key, sequence).
func (n *node) before(key []byte, sequence uint64) bool {
	c := bytes.Compare(n.key, key)
	return c < 0 || c == 0 && n.sequence > sequence
}

// insert adds an entry, whose slices it keeps.
func (s *skiplist) insert(e entry) {
	var previous [maxHeight]*node
	x := s.head
	height := int(s.height.Load())
	for level := height - 1; level >= 0; level-- {
		for next := x.next[level].Load(); next != nil && next.before(e.key, e.sequence); next = x.next[level].Load() {
			x = next
		}
		previous[level] = x
	}
	h := 1
	for h < maxHeight && rand.Uint32()&3 == 0 {
		h++
	}
	for level := height; level < h; level++ {
		previous[level] = s.head
	}
	n := &node{entry: e, next: make([]atomic.Pointer[node], h)}
	for level := range h {
		n.next[level].Store(previous[level].next[level].Load())
		previous[level].next[level].Store(n) // readers that see n see all of it
	}
	if h > height {
		s.height.Store(int32(h))
	}
	s.bytes.Add(int64(len(e.key) + len(e.value) + nodeOverhead))
}

// find returns the first node that does not sort before (key, sequence). It is the one that was compared: looked up
// again it could be another, inserted meanwhile, of a smaller key or a sequence that the reader must not see.
func (s *skiplist) find(key []byte, sequence uint64) *node {
	x := s.head
	var next *node
	for level := int(s.height.Load()) - 1; level >= 0; level-- {
		for next = x.next[level].Load(); next != nil && next.before(key, sequence); next = x.next[level].Load() {
			x = next
		}
	}
	return next
}

// get returns the newest version of key that is not newer than sequence.
func (s *skiplist) get(key []byte, sequence uint64) (*entry, bool) {
	n := s.find(key, sequence)
	if n == nil || !bytes.Equal(n.key, key) {
		return nil, false
	}
	return &n.entry, true
}

// listCursor walks over the versions of a skiplist that are visible at a sequence.
type listCursor struct {
	list     *skiplist
	sequence uint64
	at       *node
}

func (c *listCursor) seek(key []byte) {
	c.at = c.list.find(key, c.sequence)
	c.skipInvisible()
}

func (c *listCursor) next() {
	key := c.at.key
	for c.at = c.at.next[0].Load(); c.at != nil && bytes.Equal(c.at.key, key); c.at = c.at.next[0].Load() {
		continue // an older version of the same key
	}
	c.skipInvisible()
}

func (c *listCursor) skipInvisible() {
	for c.at != nil && c.at.sequence > c.sequence {
		c.at = c.at.next[0].Load()
	}
}

func (c *listCursor) current() *entry {
	if c.at == nil {
		return nil
	}
	return &c.at.entry
}

func (c *listCursor) err() error { return nil }
func (c *listCursor) close()     {}
