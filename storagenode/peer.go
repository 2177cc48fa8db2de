package storagenode

import (
	"context"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// Peer is a drive of the cluster as others see it, near or far. Its methods
// keep to the contract of shardstore.Store.
type Peer interface {
	// List returns at most limit healthy shards of a partition after the given id, in the order of ids.
	List(ctx context.Context, partition uint32, after placement.ShardID, limit int) ([]shardstore.Info, error)
	// Digest sums up the chunks of a partition of which the drive has a healthy shard.
	Digest(ctx context.Context, partition uint32) (shardstore.Digest, error)
	// Stat fails with ErrNotFound, ErrCorrupt, or ErrDeleted where a tombstone is.
	Stat(context.Context, placement.ShardID) (shardstore.Info, error)
	// ReadAt fills p with verified bytes from off on, or fails.
	ReadAt(ctx context.Context, id placement.ShardID, p []byte, off int64) error
	// Drop removes shards without forbidding them: they may be written again.
	Drop(context.Context, []placement.ShardID) error
}

// Drive is the drive that a Reconciler works for.
type Drive interface {
	Peer
	// Put is durable on return. A healthy shard of the same id is left as it is;
	// a damaged one is written anew; ErrDeleted if a tombstone forbids it.
	Put(ctx context.Context, h shardstore.Header, payload []byte) error
}

// Cluster is what a Reconciler knows of the others.
type Cluster interface {
	// Map returns the newest cluster map, nil while there is none.
	Map() *placement.Map
	// Peer returns a drive, or nil if it is unknown or down.
	Peer(placement.DriveID) Peer
}
