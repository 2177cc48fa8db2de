package shardstore

import (
	"errors"

	"kintsugi/placement"
)

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
	// ErrDeleted: a tombstone forbids this shard to be written again.
	ErrDeleted = errors.New("shard deleted")
)
