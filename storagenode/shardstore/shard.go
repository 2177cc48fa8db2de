package shardstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"

	"kintsugi/placement"
)

// MaxPayload is the largest shard, in bytes: a whole chunk of the largest size on one drive.
const MaxPayload = 64 << 20

// Header says what a shard is. It is written beside the payload, so that a
// drive alone tells what it holds.
type Header struct {
	ID        placement.ShardID
	Partition uint32
	Epoch     uint64 // of the cluster map under which it was placed
	K, M      uint8  // the code of its chunk
	ChunkSize uint32 // bytes of the chunk before padding, at most 64 MiB
}

// Info is a shard as the index knows it.
type Info struct {
	Header
	Size    int64 // payload bytes
	Written int64 // Unix seconds
}

// Digest sums up what a drive has of a partition.
type Digest struct {
	Count  uint64 // chunks of which it has a healthy shard
	Sum    uint64 // of their ChunkHash
	Bytes  uint64 // of the chunks before coding
	Shards uint64 // sum of ChunkHash times 2i+1 over all healthy shards i
}

// SameChunks tells whether two drives have the same chunks, whichever shards of them.
func (d Digest) SameChunks(o Digest) bool {
	return d.Count == o.Count && d.Sum == o.Sum && d.Bytes == o.Bytes
}

// OnlyIndex tells whether all shards have this index.
func (d Digest) OnlyIndex(i int) bool { return d.Shards == d.Sum*uint64(2*i+1) }

// shardTerm is what a shard adds to Digest.Shards.
func shardTerm(id placement.ShardID) uint64 {
	return ChunkHash(id.Blob, id.Chunk) * (2*uint64(id.Index) + 1)
}

// Usage is what a store takes and holds, in bytes and counts.
type Usage struct {
	CapacityBytes uint64 // of the filesystem
	FreeBytes     uint64 // of the filesystem, less what the store keeps in reserve
	UsedBytes     uint64 // by segments, dead records included
	LiveBytes     uint64 // by records that are still needed
	Shards        uint64
	Corrupt       uint64 // shards known to be damaged
	Tombstones    uint64
	Segments      int
	Full          bool // the last write was refused for want of space
}

// ChunkHash is the same on every drive; digests are made of it.
func ChunkHash(blob placement.BlobID, chunk uint32) uint64 {
	var b [20]byte
	copy(b[:16], blob[:])
	binary.LittleEndian.PutUint32(b[16:], chunk)
	return xxh3.Hash(b[:])
}

// Errors are matched with errors.Is; they come wrapped with the drive and the shard.
var (
	// ErrNotFound: this drive has no such shard.
	ErrNotFound = errors.New("shard not found")
	// ErrCorrupt: the drive has it, but a checksum does not match. It never returns such bytes.
	ErrCorrupt = errors.New("shard corrupt")
	// ErrFull: the drive takes no more writes; deletes still work.
	ErrFull = errors.New("drive full")
	// ErrFailed: a write or sync failed, or the drive went away. It is final until the store is opened anew.
	ErrFailed = errors.New("drive failed")
	// ErrDeleted: a tombstone forbids this shard to be written again. Stat says so, too; it is an ErrNotFound.
	ErrDeleted = fmt.Errorf("shard deleted: %w", ErrNotFound)
	// ErrForeign: a segment belongs to another drive. The store does not open.
	ErrForeign = errors.New("segment of another drive")
	// ErrVersion: a segment was written by a newer version. The store does not open, nor change anything.
	ErrVersion = errors.New("segment of a newer version")
	// ErrTooLarge: the payload is longer than MaxPayload or than a segment.
	ErrTooLarge = errors.New("shard too large")
	// ErrRange: a read past the end of the shard.
	ErrRange = fmt.Errorf("range past the end of the shard: %w", io.ErrUnexpectedEOF)
)

// Error adds to one of the errors above which drive and which shard it is about.
type Error struct {
	Drive placement.DriveID
	Shard placement.ShardID
	Err   error
}

func (e *Error) Error() string {
	return fmt.Sprintf("drive %s: shard %s: %v", e.Drive, e.Shard, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// compareID orders shards by blob, chunk and index, as List does.
func compareID(a, b placement.ShardID) int {
	for i := range a.Blob {
		if a.Blob[i] != b.Blob[i] {
			return int(a.Blob[i]) - int(b.Blob[i])
		}
	}
	switch {
	case a.Chunk < b.Chunk:
		return -1
	case a.Chunk > b.Chunk:
		return 1
	}
	return int(a.Index) - int(b.Index)
}
