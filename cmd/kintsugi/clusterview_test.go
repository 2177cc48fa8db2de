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

// TestOwnDropUnderAnOldMap: a node that has not heard of the newest map must not remove what those who have it
// have seen on its drives.
func TestOwnDropUnderAnOldMap(t *testing.T) {
	drive := placement.DriveID{1}
	m, err := placement.Birth(placement.ClusterID{9}, 16, 1, 0, []placement.Drive{{ID: drive, Node: "a", Weight: 100}})
	if err != nil {
		t.Fatal(err)
	}
	fence, err := storagenode.NewFence(nil)
	if err != nil {
		t.Fatal(err)
	}
	fence.SetMap(m)
	fence.SetLease(time.Now().Add(time.Minute))
	store, err := shardstore.Open(t.TempDir(), shardstore.Config{Drive: drive, SegmentSize: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	id := placement.ShardID{Blob: placement.BlobID{7}}
	h := shardstore.Header{ID: id, Partition: m.Partition(id.Blob, 0), Epoch: m.Epoch, K: 1, ChunkSize: 5}
	if err := store.Put(t.Context(), h, []byte("shard")); err != nil {
		t.Fatal(err)
	}
	own := storagenode.Peer(ownDrive{store, fence}).(storagenode.Dropper)

	fence.Heard(m.Epoch + 1)
	if err := own.DropUnder(t.Context(), m.Epoch, []placement.ShardID{id}); !errors.Is(err, storagenode.ErrStaleMap) {
		t.Fatalf("a drop under an old map: %v, want %v", err, storagenode.ErrStaleMap)
	}
	if _, err := store.Stat(t.Context(), id); err != nil {
		t.Fatalf("the shard after a refused drop: %v", err)
	}
	if err := own.DropUnder(t.Context(), m.Epoch+1, []placement.ShardID{id}); err != nil {
		t.Fatalf("a drop under the newest map: %v", err)
	}
	if _, err := store.Stat(t.Context(), id); !errors.Is(err, shardstore.ErrNotFound) {
		t.Fatalf("the shard after its drop: %v", err)
	}
}

// TestOwnPutWithoutALease: the gateway of a node that was stopped must not write to the node's own drives either.
func TestOwnPutWithoutALease(t *testing.T) {
	drive := placement.DriveID{1}
	m, err := placement.Birth(placement.ClusterID{9}, 16, 1, 0, []placement.Drive{{ID: drive, Node: "a", Weight: 100}})
	if err != nil {
		t.Fatal(err)
	}
	fence, err := storagenode.NewFence(nil)
	if err != nil {
		t.Fatal(err)
	}
	fence.SetMap(m)
	store, err := shardstore.Open(t.TempDir(), shardstore.Config{Drive: drive, SegmentSize: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	id := placement.ShardID{Blob: placement.BlobID{7}}
	h := shardstore.Header{ID: id, Partition: m.Partition(id.Blob, 0), Epoch: m.Epoch, K: 1, ChunkSize: 5}
	own := blob.Drive(writtenDrive{store, drive, fence})
	if err := own.Put(t.Context(), h, []byte("shard")); !errors.Is(err, storagenode.ErrFenced) {
		t.Fatalf("without a lease: %v", err)
	}
	fence.SetLease(time.Now().Add(time.Minute))
	if err := own.Put(t.Context(), h, []byte("shard")); err != nil {
		t.Fatalf("with a lease: %v", err)
	}
}
