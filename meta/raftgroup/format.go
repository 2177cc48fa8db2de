package raftgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"kintsugi/internal/directio"
)

// The log is a chain of batches in segment files seg-<16 hex digits>.log. A batch starts at a multiple of 4096 bytes
// and is written by one pwrite; the rest of its last block is zero. The batches of a log are numbered without gaps
// across segments. Batch s+1 is written only after batch s is durable, so a valid s+1 proves that s was acknowledged.
// The block behind the last batch is zero: anything else there is a torn or damaged batch.
//
// Batch header, little endian:
//
//	0:4    magic "KRLG"
//	4:6    version, now 1
//	6:8    flags: 1 = the host was closed here
//	8:12   length of the records, bytes
//	12:16  number of records
//	16:24  id of the host (replica)
//	24:32  id of the segment, as in the file's name
//	32:40  sequence of the batch, from 1
//	40:48  XXH3-64 of the records, seeded with the sequence
//	48:56  zero
//	56:64  XXH3-64 of 0:56
//
// Record, little endian, padded with zeros to a multiple of 8 bytes:
//
//	0:4    XXH3-64 of 4:32+length, its low 32 bits
//	4:8    length of the data, bytes
//	8:12   group
//	12:16  kind
//	16:24  index
//	24:32  term
//	32:    data
const (
	batchMagic      = "KRLG"
	batchVersion    = 1
	batchHeaderSize = 64
	flagClosed      = 1

	recordHeaderSize = 32

	// maxBatchBytes bounds what a length field may claim.
	maxBatchBytes = 256 << 20
)

// recordKind tells what a record changes in its group.
type recordKind uint32

const (
	kindEntry        recordKind = 1 // a normal Raft entry
	kindConfChange   recordKind = 2 // an entry of type EntryConfChange
	kindConfChangeV2 recordKind = 3 // an entry of type EntryConfChangeV2
	kindHardState    recordKind = 4 // index: commit; term; data: vote, 8 bytes
	kindStart        recordKind = 5 // the log begins after index, whose entry has term
	kindMembers      recordKind = 6 // members as of index, set by hand; term: changes up to it are void; data: ConfState
)

// record is one change of one group. Data is not copied.
type record struct {
	group uint32
	kind  recordKind
	index uint64
	term  uint64
	data  []byte
}

// batchHeader is the decoded form of a batch's first 64 bytes.
type batchHeader struct {
	flags    uint16
	length   uint32
	records  uint32
	host     uint64
	segment  uint64
	sequence uint64
	checksum uint64
}

// size returns the bytes that the batch takes in its segment.
func (h batchHeader) size() int64 { return directio.Align(batchHeaderSize + int64(h.length)) }

func (h batchHeader) encode(p []byte) {
	clear(p[:batchHeaderSize])
	copy(p, batchMagic)
	le := binary.LittleEndian
	le.PutUint16(p[4:], batchVersion)
	le.PutUint16(p[6:], h.flags)
	le.PutUint32(p[8:], h.length)
	le.PutUint32(p[12:], h.records)
	le.PutUint64(p[16:], h.host)
	le.PutUint64(p[24:], h.segment)
	le.PutUint64(p[32:], h.sequence)
	le.PutUint64(p[40:], h.checksum)
	le.PutUint64(p[56:], xxh3.Hash(p[:56]))
}

// decodeBatchHeader reads a header. It fails with ErrDamaged unless the header's own checksum
// holds, and with ErrForeign for a version that it does not know.
func decodeBatchHeader(p []byte) (batchHeader, error) {
	le := binary.LittleEndian
	if len(p) < batchHeaderSize || string(p[:4]) != batchMagic || le.Uint64(p[56:]) != xxh3.Hash(p[:56]) {
		return batchHeader{}, fmt.Errorf("batch header: %w", ErrDamaged)
	}
	if v := le.Uint16(p[4:]); v != batchVersion {
		return batchHeader{}, fmt.Errorf("batch version %d: %w", v, ErrForeign)
	}
	h := batchHeader{
		flags:    le.Uint16(p[6:]),
		length:   le.Uint32(p[8:]),
		records:  le.Uint32(p[12:]),
		host:     le.Uint64(p[16:]),
		segment:  le.Uint64(p[24:]),
		sequence: le.Uint64(p[32:]),
		checksum: le.Uint64(p[40:]),
	}
	if h.length > maxBatchBytes {
		return batchHeader{}, fmt.Errorf("batch of %d bytes: %w", h.length, ErrDamaged)
	}
	return h, nil
}

// recordSize returns the bytes that a record with n bytes of data takes.
func recordSize(n int) int { return recordHeaderSize + (n+7)&^7 }

// appendRecord appends r to p, whose unused capacity need not be zero.
func appendRecord(p []byte, r record) []byte {
	var header [recordHeaderSize]byte
	le := binary.LittleEndian
	le.PutUint32(header[4:], uint32(len(r.data)))
	le.PutUint32(header[8:], r.group)
	le.PutUint32(header[12:], uint32(r.kind))
	le.PutUint64(header[16:], r.index)
	le.PutUint64(header[24:], r.term)
	start := len(p)
	p = append(p, header[:]...)
	p = append(p, r.data...)
	le.PutUint32(p[start:], uint32(xxh3.Hash(p[start+4:])))
	var zero [8]byte
	return append(p, zero[:recordSize(len(r.data))-recordHeaderSize-len(r.data)]...)
}

// decodeRecord reads the record at the start of p and returns the bytes that it takes. Its data aliases p.
func decodeRecord(p []byte) (record, int, error) {
	if len(p) < recordHeaderSize {
		return record{}, 0, fmt.Errorf("record of %d bytes: %w", len(p), ErrDamaged)
	}
	le := binary.LittleEndian
	n := int64(le.Uint32(p[4:]))
	if n > int64(len(p)-recordHeaderSize) || recordSize(int(n)) > len(p) {
		return record{}, 0, fmt.Errorf("record of %d bytes: %w", n, ErrDamaged)
	}
	end := recordHeaderSize + int(n)
	if le.Uint32(p) != uint32(xxh3.Hash(p[4:end])) {
		return record{}, 0, fmt.Errorf("record checksum: %w", ErrDamaged)
	}
	r := record{
		group: le.Uint32(p[8:]),
		kind:  recordKind(le.Uint32(p[12:])),
		index: le.Uint64(p[16:]),
		term:  le.Uint64(p[24:]),
		data:  p[recordHeaderSize:end:end],
	}
	if r.kind < kindEntry || r.kind > kindMembers {
		return record{}, 0, fmt.Errorf("record kind %d: %w", r.kind, ErrDamaged)
	}
	return r, recordSize(int(n)), nil
}

// decodeBatch verifies the batch at the start of p, which may be longer than it, and calls visit for each
// record with its offset in the batch. The records alias p.
func decodeBatch(p []byte, visit func(r record, offset, size int) error) (batchHeader, error) {
	h, err := decodeBatchHeader(p)
	if err != nil {
		return h, err
	}
	if h.size() > int64(len(p)) {
		return h, fmt.Errorf("batch of %d bytes: %w", h.size(), ErrDamaged)
	}
	body := p[batchHeaderSize : batchHeaderSize+int(h.length)]
	if xxh3.HashSeed(body, h.sequence) != h.checksum {
		return h, fmt.Errorf("batch %d checksum: %w", h.sequence, ErrDamaged)
	}
	offset := 0
	for range h.records {
		r, n, err := decodeRecord(body[offset:])
		if err != nil {
			return h, err
		}
		if err := visit(r, batchHeaderSize+offset, n); err != nil {
			return h, err
		}
		offset += n
	}
	if offset != len(body) {
		return h, fmt.Errorf("batch %d: %d bytes too many: %w", h.sequence, len(body)-offset, ErrDamaged)
	}
	return h, nil
}

// A snapshot file snapshot-<4 hex digits of the group> is the state of a group that was fetched from a peer. It has this
// name only when it is complete and durable. Little endian:
//
//	0:4    magic "KRSN"
//	4:6    version, now 1
//	6:8    length of the members, bytes
//	8:12   group
//	12:16  zero
//	16:24  index
//	24:32  term
//	32:    members, raftpb.ConfState in protobuf; none if they are not known
//	then   XXH3-64 of all of that
//	then   what the machine wrote, which carries checksums of its own
const (
	spoolMagic    = "KRSN"
	spoolVersion  = 1
	spoolHeadSize = 32
)

func encodeSpoolHead(group uint32, at Position) ([]byte, error) {
	var members []byte
	if at.Members != nil {
		var err error
		if members, err = proto.Marshal(at.Members); err != nil {
			return nil, fmt.Errorf("encode members: %w", err)
		}
	}
	le := binary.LittleEndian
	p := le.AppendUint16([]byte(spoolMagic), spoolVersion)
	p = le.AppendUint16(p, uint16(len(members)))
	p = le.AppendUint32(p, group)
	p = le.AppendUint32(p, 0)
	p = le.AppendUint64(p, at.Index)
	p = le.AppendUint64(p, at.Term)
	p = append(p, members...)
	return le.AppendUint64(p, xxh3.Hash(p)), nil
}

// decodeSpoolHead reads a head, and fails with ErrDamaged if it is none of this group.
func decodeSpoolHead(group uint32, r io.Reader) (Position, error) {
	p := make([]byte, spoolHeadSize)
	if _, err := io.ReadFull(r, p); err != nil {
		return Position{}, fmt.Errorf("snapshot head: %w", errors.Join(ErrDamaged, err))
	}
	le := binary.LittleEndian
	length := int(le.Uint16(p[6:]))
	rest := make([]byte, length+8)
	if _, err := io.ReadFull(r, rest); err != nil {
		return Position{}, fmt.Errorf("snapshot head: %w", errors.Join(ErrDamaged, err))
	}
	p = append(p, rest[:length]...)
	if string(p[:4]) != spoolMagic || le.Uint16(p[4:]) != spoolVersion || le.Uint32(p[8:]) != group || xxh3.Hash(p) != le.Uint64(rest[length:]) {
		return Position{}, fmt.Errorf("snapshot head: %w", ErrDamaged)
	}
	at := Position{Index: le.Uint64(p[16:]), Term: le.Uint64(p[24:])}
	if length > 0 {
		at.Members = &raftpb.ConfState{}
		if err := proto.Unmarshal(p[spoolHeadSize:], at.Members); err != nil {
			return Position{}, fmt.Errorf("snapshot members: %w", errors.Join(ErrDamaged, err))
		}
	}
	return at, nil
}
