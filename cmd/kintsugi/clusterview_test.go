package main

import (
	"errors"
	"testing"
	"time"

	"kintsugi/gateway/blob"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardstore"
)

// ownedDrive is a drive of this process in a cluster of its own, behind a fence without a lease.
type ownedDrive struct {
	id    placement.DriveID
	m     *placement.Map
	fence *storagenode.Fence
	store *shardstore.Store
}

func newOwnedDrive(t *testing.T) ownedDrive {
	t.Helper()
	o := ownedDrive{id: placement.DriveID{1}}
	var err error
	o.m, err = placement.Birth(placement.ClusterID{9}, 16, 1, 0, []placement.Drive{{ID: o.id, Node: "a", Weight: 100}})
	must(t, err)
	o.fence, err = storagenode.NewFence(nil)
	must(t, err)
	o.fence.SetMap(o.m)
	o.store, err = shardstore.Open(t.TempDir(), shardstore.Config{Drive: o.id, SegmentSize: 4 << 20})
	must(t, err)
	t.Cleanup(func() { o.store.Close() })
	return o
}

// header is that of a shard of 5 bytes.
func (o ownedDrive) header() shardstore.Header {
	id := placement.ShardID{Blob: placement.BlobID{7}}
	return shardstore.Header{ID: id, Partition: o.m.Partition(id.Blob, 0), Epoch: o.m.Epoch, K: 1, ChunkSize: 5}
}

// TestOwnDropUnderAnOldMap: a node that has not heard of the newest map must not remove what those who have it
// have seen on its drives.
func TestOwnDropUnderAnOldMap(t *testing.T) {
	o := newOwnedDrive(t)
	o.fence.SetLease(time.Now().Add(time.Minute))
	h := o.header()
	must(t, o.store.Put(t.Context(), h, []byte("shard")))
	own := storagenode.Peer(ownDrive{o.store, o.fence}).(storagenode.Dropper)

	o.fence.Heard(o.m.Epoch + 1)
	if err := own.DropUnder(t.Context(), o.m.Epoch, []placement.ShardID{h.ID}); !errors.Is(err, storagenode.ErrStaleMap) {
		t.Fatalf("a drop under an old map: %v, want %v", err, storagenode.ErrStaleMap)
	}
	if _, err := o.store.Stat(t.Context(), h.ID); err != nil {
		t.Fatalf("the shard after a refused drop: %v", err)
	}
	if err := own.DropUnder(t.Context(), o.m.Epoch+1, []placement.ShardID{h.ID}); err != nil {
		t.Fatalf("a drop under the newest map: %v", err)
	}
	if _, err := o.store.Stat(t.Context(), h.ID); !errors.Is(err, shardstore.ErrNotFound) {
		t.Fatalf("the shard after its drop: %v", err)
	}
}

// TestOwnPutWithoutALease: the gateway of a node that was stopped must not write to the node's own drives either.
func TestOwnPutWithoutALease(t *testing.T) {
	o := newOwnedDrive(t)
	h := o.header()
	own := blob.Drive(writtenDrive{o.store, o.id, o.fence})
	if err := own.Put(t.Context(), h, []byte("shard")); !errors.Is(err, storagenode.ErrFenced) {
		t.Fatalf("without a lease: %v", err)
	}
	o.fence.SetLease(time.Now().Add(time.Minute))
	if err := own.Put(t.Context(), h, []byte("shard")); err != nil {
		t.Fatalf("with a lease: %v", err)
	}
}
