package audit

import (
	"encoding/binary"

	"github.com/zeebo/xxh3"

	"kintsugi/placement"
)

// The numbers are those of shardstore/format.go, version 1.
const (
	headerSize    = 128
	sumSize       = 8
	checksumBlock = 64 << 10
	directLimit   = 64 << 10
	packAlign     = 64
	pageAlign     = 4096
	segmentHead   = 4096
	headCopy      = 2048
	headUsed      = 44
	maxPayload    = 64 << 20
	knownVersion  = 1

	kindPut       = 1
	kindTombstone = 2
	kindDrop      = 3
)

var le = binary.LittleEndian

// head is what the first page of a segment says.
type head struct {
	drive placement.DriveID
	gen   uint32
}

// decodeHead reads whichever copy matches its checksum.
func decodeHead(page []byte) (head, bool) {
	for _, at := range []int{0, headCopy} {
		if len(page) < at+headUsed {
			return head{}, false
		}
		b := page[at : at+headUsed]
		if string(b[:4]) == "KSEG" && le.Uint16(b[4:]) == knownVersion && le.Uint64(b[36:]) == xxh3.Hash(b[:36]) {
			h := head{gen: le.Uint32(b[24:])}
			copy(h.drive[:], b[8:24])
			return h, true
		}
	}
	return head{}, false
}

// record is what the header of one says.
type record struct {
	id        placement.ShardID
	kind      uint8
	k, m      uint8
	partition uint32
	chunkSize uint32
	size      uint32
	seq       uint64
	durable   uint64
	gen, off  uint32
	tableSum  uint64
}

// decodeRecord reads a header of a drive, whose id hashes to drive.
func decodeRecord(b []byte, drive uint64) (r record, ok bool) {
	if len(b) < headerSize || string(b[:4]) != "KSHD" || b[4] != knownVersion ||
		le.Uint64(b[80:]) != drive || le.Uint64(b[120:]) != xxh3.HashSeed(b[:120], drive) {
		return r, false
	}
	r = record{
		kind: b[5], k: b[6], m: b[7], partition: le.Uint32(b[32:]), chunkSize: le.Uint32(b[36:]),
		size: le.Uint32(b[48:]), seq: le.Uint64(b[56:]), durable: le.Uint64(b[64:]), gen: le.Uint32(b[72:]), off: le.Uint32(b[76:]),
		tableSum: le.Uint64(b[88:]),
	}
	copy(r.id.Blob[:], b[8:24])
	r.id.Chunk, r.id.Index = le.Uint32(b[24:]), b[28]
	known := r.kind == kindPut || (r.kind == kindTombstone || r.kind == kindDrop) && r.size == 0
	return r, known && r.size <= maxPayload
}

// blocks is the number of checksums of the payload.
func (r *record) blocks() int64 { return (int64(r.size) + checksumBlock - 1) / checksumBlock }

// align is what the parts of the record are aligned to, in bytes.
func (r *record) align() int64 {
	if r.size >= directLimit {
		return pageAlign
	}
	return packAlign
}

// payloadAt is where the payload begins, from the begin of the record.
func (r *record) payloadAt() int64 { return roundUp(headerSize+sumSize*r.blocks(), r.align()) }

// length is what the record takes in its segment.
func (r *record) length() int64 { return r.payloadAt() + roundUp(int64(r.size), r.align()) }

// seed is what the checksums of the shard's blocks begin with.
func (r *record) seed() uint64 {
	var b [21]byte
	copy(b[:], r.id.Blob[:])
	le.PutUint32(b[16:], r.id.Chunk)
	b[20] = r.id.Index
	return xxh3.Hash(b[:])
}

// blockSum is the checksum of block number n.
func blockSum(seed, n uint64, block []byte) uint64 {
	return xxh3.HashSeed(block, seed+n*0x9e3779b97f4a7c15)
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
