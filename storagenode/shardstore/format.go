package shardstore

import (
	"encoding/binary"
	"errors"

	"github.com/zeebo/xxh3"

	"kintsugi/internal/directio"
	"kintsugi/placement"
)

// A drive holds segment files `seg-GENERATION` and beside each sealed one a hint
// file `seg-GENERATION.hint`, which lists its records and may be lost at any time.
// The generation grows with every use of a file, so what an earlier use left in a
// recycled file is recognised. All numbers are little endian.
//
// Segment: a head of 4096 bytes, then records.
//
//	0:4      magic "KSEG"
//	4:6      version, now 1
//	6:8      zero
//	8:24     drive id
//	24:28    generation
//	28:36    capacity, bytes
//	36:44    xxh3 of 0:36
//	2048:    the same 44 bytes again, so that one bad sector loses nothing
//
// Record: header, one checksum per block of 64 KiB, zeros up to the alignment,
// payload, zeros up to the alignment. The alignment is 4096 from 64 KiB of payload
// on, because such a record is written on its own past the page cache, and 64
// below, because small ones are packed into one write that starts at 4096.
//
//	0:4      magic "KSHD"
//	4        version, now 1
//	5        kind: 1 put, 2 tombstone (forbids the shard), 3 drop (allows it again)
//	6        k
//	7        m
//	8:24     blob id
//	24:28    chunk
//	28       index
//	29:32    zero
//	32:36    partition
//	36:40    chunk size, bytes
//	40:48    epoch
//	48:52    payload size, bytes
//	52:56    time of writing, Unix seconds
//	56:64    sequence: of two records of a shard the higher one counts
//	64:72    durable: every lower or equal sequence was on stable storage before this was written
//	72:76    generation of the segment   \ where the record is: a stale or
//	76:80    offset in the segment       / misdirected write does not match
//	80:88    xxh3 of the drive id
//	88:96    xxh3 of the checksum table
//	96:120   zero
//	120:128  xxh3 of 0:120, seeded with that of the drive id
//	128:     the table: xxh3 of each block, seeded with shard id and block number
//
// There is no footer: a write may reach the disk in any order, so an end mark
// proves nothing. A record is committed when its header and all its blocks match.
//
// Hint: a head, entries of 64 bytes, a trailer.
//
//	0:4      magic "KHNT"      entry 0   kind            trailer 0:4   magic "KEND"
//	4:6      version, now 1          1   k                       4     1: sealed
//	6:8      zero                    2   m                       5:8   zero
//	8:16     xxh3 of drive id        3   index                   8:16  end: scan on from there
//	16:20    generation              4:20  blob                  16:24 highest sequence
//	20:64    zero                    20:24 chunk                 24:32 durable
//	                                 24:28 partition             32:56 zero
//	                                 28:32 chunk size            56:64 xxh3 of all before,
//	                                 32:40 epoch                       seeded with the drive's
//	                                 40:48 sequence
//	                                 48:52 payload size
//	                                 52:56 time
//	                                 56:60 offset
//	                                 60:64 zero
const (
	segmentMagic = "KSEG"
	recordMagic  = "KSHD"
	hintMagic    = "KHNT"
	hintEndMagic = "KEND"

	formatVersion = 1

	segmentHeadSize = directio.BlockSize
	segmentCopyAt   = 2048
	headerSize      = 128
	sumSize         = 8
	hintEntrySize   = 64

	checksumBlock = 64 << 10
	packAlign     = 64
	// directLimit is the payload size from which a record is written by its own caller.
	directLimit = 64 << 10
)

type kind uint8

const (
	kindPut       kind = 1
	kindTombstone kind = 2
	kindDrop      kind = 3
)

// errFormat is the answer of every decoder to bytes that it did not write.
var errFormat = errors.New("not a valid record")

// record is what a record's header says.
type record struct {
	Header
	kind    kind
	size    uint32
	written uint32
	seq     uint64
	durable uint64
	gen     uint32
	off     uint32
	sums    uint64 // of the checksum table
}

// blockCount is the number of checksums of a payload.
func blockCount(size int64) int { return int((size + checksumBlock - 1) / checksumBlock) }

// payloadOffset is where, within its record, a payload of this size starts.
func payloadOffset(size int64) int64 {
	n := int64(headerSize + sumSize*blockCount(size))
	return alignFor(size, n)
}

// recordLen is the length of a record with a payload of this size.
func recordLen(size int64) int64 { return payloadOffset(size) + alignFor(size, size) }

// alignFor rounds n up to the alignment of records with a payload of this size.
func alignFor(size, n int64) int64 {
	if size >= directLimit {
		return directio.Align(n)
	}
	return (n + packAlign - 1) &^ (packAlign - 1)
}

func driveHash(id placement.DriveID) uint64 { return xxh3.Hash(id[:]) }

// idHash seeds the checksums of a shard's blocks.
func idHash(id placement.ShardID) uint64 {
	var b [21]byte
	copy(b[:16], id.Blob[:])
	binary.LittleEndian.PutUint32(b[16:], id.Chunk)
	b[20] = id.Index
	return xxh3.Hash(b[:])
}

// blockSum is the checksum of block number n of a shard whose idHash is seed.
// The odd factor keeps the seeds of neighbouring blocks apart.
func blockSum(seed uint64, n int, block []byte) uint64 {
	return xxh3.HashSeed(block, seed+uint64(n)*0x9e3779b97f4a7c15)
}

// putSums writes the checksum table of payload to table.
func putSums(table []byte, id placement.ShardID, payload []byte) {
	seed := idHash(id)
	for n := 0; len(payload) > 0; n++ {
		block := payload[:min(len(payload), checksumBlock)]
		binary.LittleEndian.PutUint64(table[n*sumSize:], blockSum(seed, n, block))
		payload = payload[len(block):]
	}
}

// encode writes the header to b; the checksum table must be in place behind it.
func (r *record) encode(b []byte, drive uint64) {
	le := binary.LittleEndian
	clear(b[:headerSize])
	copy(b, recordMagic)
	b[4], b[5], b[6], b[7] = formatVersion, byte(r.kind), r.K, r.M
	copy(b[8:24], r.ID.Blob[:])
	le.PutUint32(b[24:], r.ID.Chunk)
	b[28] = r.ID.Index
	le.PutUint32(b[32:], r.Partition)
	le.PutUint32(b[36:], r.ChunkSize)
	le.PutUint64(b[40:], r.Epoch)
	le.PutUint32(b[48:], r.size)
	le.PutUint32(b[52:], r.written)
	le.PutUint64(b[56:], r.seq)
	le.PutUint64(b[64:], r.durable)
	le.PutUint32(b[72:], r.gen)
	le.PutUint32(b[76:], r.off)
	le.PutUint64(b[80:], drive)
	r.sums = xxh3.Hash(b[headerSize : headerSize+sumSize*blockCount(int64(r.size))])
	le.PutUint64(b[88:], r.sums)
	le.PutUint64(b[120:], xxh3.HashSeed(b[:120], drive))
}

// decode reads a header of this drive and checks it, but not where it lies.
func (r *record) decode(b []byte, drive uint64) error {
	le := binary.LittleEndian
	if len(b) < headerSize || string(b[:4]) != recordMagic || b[4] != formatVersion ||
		le.Uint64(b[120:]) != xxh3.HashSeed(b[:120], drive) || le.Uint64(b[80:]) != drive {
		return errFormat
	}
	r.kind, r.K, r.M = kind(b[5]), b[6], b[7]
	copy(r.ID.Blob[:], b[8:24])
	r.ID.Chunk, r.ID.Index = le.Uint32(b[24:]), b[28]
	r.Partition, r.ChunkSize, r.Epoch = le.Uint32(b[32:]), le.Uint32(b[36:]), le.Uint64(b[40:])
	r.size, r.written = le.Uint32(b[48:]), le.Uint32(b[52:])
	r.seq, r.durable = le.Uint64(b[56:]), le.Uint64(b[64:])
	r.gen, r.off, r.sums = le.Uint32(b[72:]), le.Uint32(b[76:]), le.Uint64(b[88:])
	if r.kind < kindPut || r.kind > kindDrop || r.size > MaxPayload || (r.kind != kindPut && r.size != 0) {
		return errFormat
	}
	return nil
}

// length is the number of bytes that the record takes in its segment.
func (r *record) length() int64 { return recordLen(int64(r.size)) }

// checkTable tells whether the checksum table, which starts at b, is the header's.
func (r *record) checkTable(b []byte) bool {
	n := sumSize * blockCount(int64(r.size))
	return len(b) >= n && xxh3.Hash(b[:n]) == r.sums
}

// checkBlocks tells whether p, which starts at block number first, matches the table.
func (r *record) checkBlocks(table []byte, first int, p []byte) bool {
	seed := idHash(r.ID)
	for n := first; len(p) > 0; n++ {
		block := p[:min(len(p), checksumBlock)]
		if binary.LittleEndian.Uint64(table[n*sumSize:]) != blockSum(seed, n, block) {
			return false
		}
		p = p[len(block):]
	}
	return true
}

// segmentHead is what the head of a segment says.
type segmentHead struct {
	drive    placement.DriveID
	gen      uint32
	capacity int64
}

// encode writes both copies to b, a whole head.
func (h segmentHead) encode(b []byte) {
	le := binary.LittleEndian
	copy(b, segmentMagic)
	le.PutUint16(b[4:], formatVersion)
	copy(b[8:24], h.drive[:])
	le.PutUint32(b[24:], h.gen)
	le.PutUint64(b[28:], uint64(h.capacity))
	le.PutUint64(b[36:], xxh3.Hash(b[:36]))
	copy(b[segmentCopyAt:], b[:44])
}

// decodeSegmentHead reads whichever copy is whole.
func decodeSegmentHead(b []byte) (segmentHead, error) {
	le := binary.LittleEndian
	for _, at := range []int{0, segmentCopyAt} {
		if len(b) < at+44 {
			break
		}
		c := b[at : at+44]
		if string(c[:4]) != segmentMagic || le.Uint64(c[36:]) != xxh3.Hash(c[:36]) {
			continue
		}
		if le.Uint16(c[4:]) != formatVersion {
			return segmentHead{}, ErrVersion
		}
		h := segmentHead{gen: le.Uint32(c[24:]), capacity: int64(le.Uint64(c[28:]))}
		copy(h.drive[:], c[8:24])
		if h.capacity >= segmentHeadSize && h.capacity <= maxSegmentSize {
			return h, nil
		}
	}
	return segmentHead{}, errFormat
}
