package state

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"kintsugi/meta"
)

// Keys begin with the group (2 bytes, big endian) and a kind (1 byte). A name is a bucket, which has no
// zero byte, and a zero byte. Numbers in keys are big endian. E(key) is the key with 00 as 00 ff,
// then 00 01: bytewise order is that of the keys, and no key is a prefix of another.
//
//	'B' bucket                     meta.Bucket
//	'T' name                       the last incarnation of the bucket that was removed, 8 bytes
//	'o' name key                   record: the current version, never a delete marker
//	'v' name E(key) ^sequence(8)   record: versions that are not current, and delete markers, newest first
//	'n' name E(key)                the sequence of the null version among those, 8 bytes
//	'd' sequence(8)                the body of an inline version
//	'b' blob id(16)                how often versions and parts refer to the blob, 8 bytes
//	'q' sequence(8)                garbage: a blob that nothing refers to
//	'u' name E(key) upload id      meta.Upload
//	'p' layout 00 page(2)          page: 32 parts (number-1)/32 of an upload or object, or blobs of a copy
//	'x' layout                     dropped: a layout whose blobs are still to be queued
//	'r' slot(2)                    request: a write that was executed, by its number modulo 4096
//	'm'                            the cluster map as proposed (group 0)
//
// If a key has no 'o', then its newest 'v' is a delete marker, or there is none.
//
// Group ffff is the machine's own:
//
//	'P' group(2)                   position; none while the group is being restored
//	'V'                            the version of this format, 8 bytes
//
// Values, little endian:
//
//	0:8    xxh3 of 8:, seeded with xxh3 of the key
//	8:     a number of 8 bytes, a body, or CBOR
const (
	formatVersion = 1
	sumSize       = 8

	kindBucket   = 'B'
	kindRemoved  = 'T'
	kindObject   = 'o'
	kindVersion  = 'v'
	kindNull     = 'n'
	kindBody     = 'd'
	kindBlob     = 'b'
	kindQueue    = 'q'
	kindUpload   = 'u'
	kindPage     = 'p'
	kindDropped  = 'x'
	kindRequest  = 'r'
	kindMap      = 'm'
	kindPosition = 'P'
	kindFormat   = 'V'

	machineGroup = 0xffff
	partsPerPage = 32
	maxInRecord  = 8 // parts or blobs; more are kept in pages, out of the way of listings
)

// seal writes the checksum of value[sumSize:] into its head.
func seal(key, value []byte) {
	binary.LittleEndian.PutUint64(value, checksum(key, value[sumSize:]))
}

// open verifies a value and returns what it holds.
func open(key, value []byte) ([]byte, error) {
	if len(value) < sumSize || binary.LittleEndian.Uint64(value) != checksum(key, value[sumSize:]) {
		return nil, fmt.Errorf("record %q: %w", key[:min(len(key), 3)], meta.ErrCorrupt)
	}
	return value[sumSize:], nil
}

func checksum(key, content []byte) uint64 { return xxh3.HashSeed(content, xxh3.Hash(key)) }

// record is a stored version.
type record struct {
	Version meta.Version `cbor:"1,keyasint"`
	Layout  string       `cbor:"2,keyasint,omitempty"` // of the pages that hold Version's Parts and Blobs
	Kept    []byte       `cbor:"3,keyasint,omitempty"` // bit set of the part numbers that count; empty: all
}

// page is a piece of a layout. Blobs come before Parts without blobs in the layout of a copy.
type page struct {
	Parts []meta.Part `cbor:"1,keyasint,omitempty"`
	Blobs []meta.Blob `cbor:"2,keyasint,omitempty"`
}

// dropped is a layout of which the parts outside Kept are to be dropped.
type dropped struct {
	Kept []byte `cbor:"1,keyasint,omitempty"`
	Next []byte `cbor:"2,keyasint,omitempty"` // key of the next page to work on
}

// garbage is an entry of the deletion queue.
type garbage struct {
	Blob   meta.Blob `cbor:"1,keyasint"`
	Queued int64     `cbor:"2,keyasint"` // Unix milliseconds
}

// request is a write that was executed, kept for a while so that its repetition sees the same result.
type request struct {
	Number  uint64        `cbor:"1,keyasint"` // of the group's writes
	ID      []byte        `cbor:"2,keyasint"`
	Put     *meta.Put     `cbor:"3,keyasint,omitempty"`
	Deleted *meta.Deleted `cbor:"4,keyasint,omitempty"`
}

// position is a raftgroup.Position.
type position struct {
	Index          uint64   `cbor:"1,keyasint"`
	Term           uint64   `cbor:"2,keyasint"`
	Voters         []uint64 `cbor:"3,keyasint,omitempty"`
	Learners       []uint64 `cbor:"4,keyasint,omitempty"`
	VotersOutgoing []uint64 `cbor:"5,keyasint,omitempty"`
	LearnersNext   []uint64 `cbor:"6,keyasint,omitempty"`
	AutoLeave      bool     `cbor:"7,keyasint,omitempty"`
	Known          bool     `cbor:"8,keyasint,omitempty"` // the members are
}
