package raftgroup

import (
	"github.com/zeebo/xxh3"

	"kintsugi/internal/directio"
)

const (
	batchBufferSize    = 256 << 10
	maxKeptBatchBuffer = 1 << 20
	maxRoundBytes      = 8 << 20 // of a round's batch: what exceeds it goes into another
)

// batch collects the records of one round in aligned memory.
type batch struct {
	buf     []byte // from directio.Buffer; its length is the header and the records
	records uint32
}

// begin empties b.
func (b *batch) begin() {
	if b.buf == nil || cap(b.buf) > maxKeptBatchBuffer {
		b.buf = directio.Buffer(batchBufferSize)
	}
	b.buf = b.buf[:batchHeaderSize]
	b.records = 0
}

// add appends r and returns its offset in the batch and its size.
func (b *batch) add(r record) (offset, size int) {
	offset, size = len(b.buf), recordSize(len(r.data))
	b.reserve(size)
	b.buf = appendRecord(b.buf, r)
	b.records++
	return offset, size
}

// reserve makes room for n bytes, the padding and a block of zeros behind.
func (b *batch) reserve(n int) {
	need := int(directio.Align(int64(len(b.buf)+n))) + directio.BlockSize
	if need <= cap(b.buf) {
		return
	}
	grown := directio.Buffer(int(directio.Align(int64(max(need, 2*cap(b.buf))))))
	b.buf = grown[:copy(grown, b.buf)]
}

// size returns the bytes that the sealed batch takes in its segment.
func (b *batch) size() int64 { return directio.Align(int64(len(b.buf))) }

// seal completes the batch and returns what to write. If terminated, a block of zeros follows.
func (b *batch) seal(host, segment, sequence uint64, flags uint16, terminated bool) []byte {
	body := b.buf[batchHeaderSize:]
	h := batchHeader{
		flags: flags, length: uint32(len(body)), records: b.records,
		host: host, segment: segment, sequence: sequence, checksum: xxh3.HashSeed(body, sequence),
	}
	h.encode(b.buf)
	n := int(b.size())
	if terminated {
		n += directio.BlockSize
	}
	used := len(b.buf)
	p := b.buf[:n]
	clear(p[used:])
	return p
}
