package lsm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sort"
	"sync"
)

// table is an open table: its index and filter are in memory, verified once; blocks
// are read and verified each time.
type table struct {
	id        uint64
	file      *os.File
	size      int64
	footerSum uint64
	keys      uint64
	blocks    []block
	filter    []byte
	obsolete  bool // guarded by DB.mu: no manifest names it any more
}

func openTable(path string, id uint64) (*table, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t, err := readTable(file, id)
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("table %d: %w", id, err)
	}
	return t, nil
}

// readTable reads footer, index and filter.
func readTable(file *os.File, id uint64) (*table, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	at := info.Size() - footerSize
	if at < 0 {
		return nil, fmt.Errorf("%d bytes: %w", info.Size(), ErrCorrupt)
	}
	foot := make([]byte, footerSize)
	if err := readFull(file, foot, at); err != nil {
		return nil, err
	}
	f, err := decodeFooter(foot, id, at)
	if err != nil {
		return nil, err
	}
	tail := make([]byte, at-f.index)
	if err := readFull(file, tail, f.index); err != nil {
		return nil, err
	}
	if sumAt(tail, id, f.index) != f.indexSum {
		return nil, fmt.Errorf("index: %w", ErrCorrupt)
	}
	blocks, err := decodeIndex(tail[:f.filter-f.index], f.index)
	if err != nil {
		return nil, err
	}
	return &table{
		id: id, file: file, size: info.Size(), footerSum: binary.LittleEndian.Uint64(foot[48:]),
		keys: f.keys, blocks: blocks, filter: tail[f.filter-f.index:],
	}, nil
}

// readFull reads all of b. A file that ends early was damaged.
func readFull(file *os.File, b []byte, offset int64) error {
	_, err := file.ReadAt(b, offset)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// buffers keeps block buffers of all tables; a pool has no state that could be shared by mistake.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 2*blockSize)
	return &b
}}

// read returns the entries of block i, verified, in buffer (grown if need be).
func (t *table) read(i int, buffer *[]byte) ([]byte, error) {
	blk := t.blocks[i]
	n := blk.length + sumSize
	if cap(*buffer) < n {
		*buffer = make([]byte, n)
	}
	b := (*buffer)[:n]
	if err := readFull(t.file, b, blk.offset); err != nil {
		return nil, fmt.Errorf("table %d: %w", t.id, err)
	}
	entries := b[:blk.length:blk.length]
	if binary.LittleEndian.Uint64(b[blk.length:]) != sumAt(entries, t.id, blk.offset) {
		return nil, fmt.Errorf("table %d, block at %d: %w", t.id, blk.offset, ErrCorrupt)
	}
	return entries, nil
}

// search returns the number of the block that key is in, if it is in the table.
func (t *table) search(key []byte) int {
	return sort.Search(len(t.blocks), func(i int) bool { return bytes.Compare(t.blocks[i].last, key) >= 0 })
}

// get calls use with the value of key unless it is deleted.
func (t *table) get(key []byte, use func([]byte) error) (found, deleted bool, err error) {
	if !mayContain(t.filter, filterHash(key)) {
		return false, false, nil
	}
	i := t.search(key)
	if i == len(t.blocks) {
		return false, false, nil
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	rest, err := t.read(i, buffer)
	if err != nil {
		return false, false, err
	}
	var room [128]byte
	e := entry{key: room[:0]}
	for len(rest) > 0 {
		var ok bool
		if rest, ok = decodeEntry(rest, &e); !ok {
			return false, false, fmt.Errorf("table %d: %w", t.id, ErrCorrupt)
		}
		switch c := bytes.Compare(e.key, key); {
		case c > 0:
			return false, false, nil
		case c == 0 && e.deleted:
			return true, true, nil
		case c == 0:
			return true, false, use(e.value)
		}
	}
	return false, false, nil
}

// discard closes the file and removes it if it is obsolete.
func (t *table) discard() {
	name := t.file.Name()
	_ = t.file.Close() // it was only read
	if t.obsolete {
		_ = os.Remove(name) // what stays is removed by the next Open
	}
}

// tableCursor walks over a table.
type tableCursor struct {
	table  *table
	buffer *[]byte
	block  int    // whose entries are in rest
	rest   []byte // behind at
	at     entry
	valid  bool
	failed error
}

func newTableCursor(t *table) *tableCursor {
	return &tableCursor{table: t, buffer: buffers.Get().(*[]byte)}
}

func (c *tableCursor) seek(key []byte) {
	c.load(c.table.search(key))
	for c.next(); c.valid && bytes.Compare(c.at.key, key) < 0; {
		c.next()
	}
}

// load reads a block; the cursor is then before its first entry.
func (c *tableCursor) load(i int) {
	c.block, c.rest, c.valid = i, nil, false
	c.at.key = c.at.key[:0]
	if i >= len(c.table.blocks) || c.failed != nil {
		return
	}
	c.rest, c.failed = c.table.read(i, c.buffer)
}

func (c *tableCursor) next() {
	if len(c.rest) == 0 {
		c.load(c.block + 1)
		if len(c.rest) == 0 {
			return
		}
	}
	rest, ok := decodeEntry(c.rest, &c.at)
	if !ok {
		c.valid, c.failed = false, fmt.Errorf("table %d: %w", c.table.id, ErrCorrupt)
		return
	}
	c.rest, c.valid = rest, true
}

func (c *tableCursor) current() *entry {
	if !c.valid || c.failed != nil {
		return nil
	}
	return &c.at
}

func (c *tableCursor) err() error { return c.failed }

func (c *tableCursor) close() {
	if c.buffer != nil {
		buffers.Put(c.buffer)
	}
	c.buffer, c.valid = nil, false
}
