package storagenode

import (
	"context"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// Peer is a drive of the cluster as others see it, near or far. Its methods
// keep to the contract of shardstore.Store. One behind a connection should have the
// methods of Digester, Stater and Dropper, too, which save round trips.
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

// Found is what Stat says of one shard.
type Found struct {
	Info shardstore.Info
	Err  error
}

// Digester is a Peer that sums up many partitions at once.
type Digester interface {
	Digests(ctx context.Context, partitions []uint32) ([]shardstore.Digest, error)
}

// Stater is a Peer that tells of many shards at once. The error is one of the call; each shard has its own.
type Stater interface {
	Stats(context.Context, []placement.ShardID) ([]Found, error)
}

// Dropper is a Peer that refuses to drop what was judged under a map that is out of date: shards
// that were surplus then may be at home now.
type Dropper interface {
	DropUnder(ctx context.Context, epoch uint64, ids []placement.ShardID) error
}

// Digests asks a drive for the digests of many partitions.
func Digests(ctx context.Context, p interface {
	Digest(ctx context.Context, partition uint32) (shardstore.Digest, error)
}, partitions []uint32) ([]shardstore.Digest, error) {
	if d, ok := p.(Digester); ok {
		return d.Digests(ctx, partitions)
	}
	digests := make([]shardstore.Digest, len(partitions))
	for i, partition := range partitions {
		var err error
		if digests[i], err = p.Digest(ctx, partition); err != nil {
			return nil, err
		}
	}
	return digests, nil
}

// Stats asks a drive for many shards.
func Stats(ctx context.Context, p Peer, ids []placement.ShardID) ([]Found, error) {
	if s, ok := p.(Stater); ok {
		return s.Stats(ctx, ids)
	}
	found := make([]Found, len(ids))
	for i, id := range ids {
		found[i].Info, found[i].Err = p.Stat(ctx, id)
	}
	return found, nil
}

// dropUnder drops what was judged under the map of an epoch.
func dropUnder(ctx context.Context, p Peer, epoch uint64, ids []placement.ShardID) error {
	if d, ok := p.(Dropper); ok {
		return d.DropUnder(ctx, epoch, ids)
	}
	return p.Drop(ctx, ids)
}
