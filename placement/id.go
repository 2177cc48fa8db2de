package placement

import (
	"encoding/hex"
	"fmt"
)

// ClusterID names a cluster for its whole life; a drive of another cluster is refused.
type ClusterID [16]byte

// DriveID names one drive: one directory with its own identity. An id is never
// used again, not even for an empty directory in the place of a lost one.
type DriveID [16]byte

// BlobID names an immutable byte string. The metadata layer chooses it; here it is only hashed.
type BlobID [16]byte

// ShardID names one of the coded pieces of a chunk of a blob.
type ShardID struct {
	Blob  BlobID
	Chunk uint32 // 0, 1, ... within the blob
	Index uint8  // 0..k-1 data, k..k+m-1 parity
}

func (id ClusterID) String() string { return hex.EncodeToString(id[:]) }
func (id DriveID) String() string   { return hex.EncodeToString(id[:]) }
func (id BlobID) String() string    { return hex.EncodeToString(id[:]) }
func (id ShardID) String() string   { return fmt.Sprintf("%s/%d.%d", id.Blob, id.Chunk, id.Index) }

// IsZero tells whether id names no drive: a vacant slot.
func (id DriveID) IsZero() bool { return id == DriveID{} }
