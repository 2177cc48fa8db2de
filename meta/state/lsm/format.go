package lsm

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"
)

// A table is written once and never changed. Numbers are little endian, varint is
// encoding/binary's unsigned one. Sums are xxh3, seeded with the table's id and the offset of what they
// cover, so that neither another table's bytes nor another place's pass.
//
//	blocks   entries: varint bytes shared with the block's previous key, varint
//	         other key bytes, varint 2*value length + 1 if the key is deleted, the other key bytes, the value;
//	         then the sum of the entries, 8 bytes
//	index    per block: varint length of its last key, the key, varint length of the block without sum; blocks
//	         follow each other from offset 0
//	filter   Bloom filter of the keys, see filter.go
//	footer   0:8    magic "KLSMTBL1"
//	         8:16   the table's id
//	         16:24  offset of the index
//	         24:32  offset of the filter
//	         32:40  number of keys
//	         40:48  sum of index and filter
//	         48:56  sum of 0:48
//
// MANIFEST, replaced as a whole by renaming:
//
//	0:8    magic "KLSMMAN1"
//	8:16   the next table's id
//	16:20  number of tables
//	20:    per table, the newest first: id (8), size of the file (8), sum of its footer (8)
//	       xxh3 of all before (8)
const (
	tableMagic        = "KLSMTBL1"
	manifestMagic     = "KLSMMAN1"
	footerSize        = 56
	sumSize           = 8
	blockSize         = 16 << 10 // bytes of entries after which a block ends
	manifestHead      = 20
	manifestEntrySize = 24
	maxTables         = 1 << 16
)

// ManifestName is the file that is there as long as the database is.
const ManifestName = "MANIFEST"

func tableName(id uint64) string { return fmt.Sprintf("%016x.tbl", id) }

func sumAt(b []byte, id uint64, offset int64) uint64 {
	return xxh3.HashSeed(b, id<<40^uint64(offset))
}

type footer struct {
	id       uint64
	index    int64
	filter   int64
	keys     uint64
	indexSum uint64
}

func (f footer) encode(offset int64) []byte {
	b := make([]byte, footerSize)
	copy(b, tableMagic)
	binary.LittleEndian.PutUint64(b[8:], f.id)
	binary.LittleEndian.PutUint64(b[16:], uint64(f.index))
	binary.LittleEndian.PutUint64(b[24:], uint64(f.filter))
	binary.LittleEndian.PutUint64(b[32:], f.keys)
	binary.LittleEndian.PutUint64(b[40:], f.indexSum)
	binary.LittleEndian.PutUint64(b[48:], sumAt(b[:48], f.id, offset))
	return b
}

// decodeFooter reads the footer of table id at offset.
func decodeFooter(b []byte, id uint64, offset int64) (footer, error) {
	if len(b) != footerSize || string(b[:8]) != tableMagic ||
		binary.LittleEndian.Uint64(b[48:]) != sumAt(b[:48], id, offset) {
		return footer{}, fmt.Errorf("footer: %w", ErrCorrupt)
	}
	f := footer{
		id:       binary.LittleEndian.Uint64(b[8:]),
		index:    int64(binary.LittleEndian.Uint64(b[16:])),
		filter:   int64(binary.LittleEndian.Uint64(b[24:])),
		keys:     binary.LittleEndian.Uint64(b[32:]),
		indexSum: binary.LittleEndian.Uint64(b[40:]),
	}
	if f.id != id || f.index < 0 || f.filter < f.index || offset < f.filter {
		return footer{}, fmt.Errorf("footer: %w", ErrCorrupt)
	}
	return f, nil
}

// block is an index entry.
type block struct {
	last   []byte // its last key
	offset int64
	length int // without sum
}

func appendBlock(b []byte, blk block) []byte {
	b = binary.AppendUvarint(b, uint64(len(blk.last)))
	b = append(b, blk.last...)
	return binary.AppendUvarint(b, uint64(blk.length))
}

// decodeIndex reads the index of blocks that end at end. The blocks' keys refer to b.
func decodeIndex(b []byte, end int64) ([]block, error) {
	var blocks []block
	offset := int64(0)
	for len(b) > 0 {
		last, rest, ok := cutBytes(b)
		if !ok {
			return nil, fmt.Errorf("index: %w", ErrCorrupt)
		}
		length, n := binary.Uvarint(rest)
		if n <= 0 || length == 0 || length > uint64(end) || offset+int64(length)+sumSize > end {
			return nil, fmt.Errorf("index: %w", ErrCorrupt)
		}
		b = rest[n:]
		blocks = append(blocks, block{last: last, offset: offset, length: int(length)})
		offset += int64(length) + sumSize
	}
	if offset != end {
		return nil, fmt.Errorf("index: %w", ErrCorrupt)
	}
	return slices.Clip(blocks), nil
}

func cutBytes(b []byte) (head, rest []byte, ok bool) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, false
	}
	end := n + int(length)
	return b[n:end:end], b[end:], true
}

func sharedPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func appendEntry(b, previous []byte, e *entry) []byte {
	shared := sharedPrefix(previous, e.key)
	b = binary.AppendUvarint(b, uint64(shared))
	b = binary.AppendUvarint(b, uint64(len(e.key)-shared))
	tag := uint64(len(e.value)) << 1
	if e.deleted {
		tag |= 1
	}
	b = binary.AppendUvarint(b, tag)
	b = append(b, e.key[shared:]...)
	return append(b, e.value...)
}

// decodeEntry reads the entry at the head of b into e, whose key is that of the entry before; its value refers to b.
func decodeEntry(b []byte, e *entry) (rest []byte, ok bool) {
	shared, n := binary.Uvarint(b)
	if n <= 0 || shared > uint64(len(e.key)) {
		return nil, false
	}
	b = b[n:]
	unshared, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, false
	}
	b = b[n:]
	tag, n := binary.Uvarint(b)
	if n <= 0 || unshared > uint64(len(b)-n) || tag>>1 > uint64(len(b)-n)-unshared {
		return nil, false
	}
	b = b[n:]
	e.key = append(e.key[:shared], b[:unshared]...)
	b = b[unshared:]
	length := int(tag >> 1)
	e.value, e.deleted = b[:length:length], tag&1 == 1
	return b[length:], true
}
