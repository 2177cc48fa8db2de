// Package blobtest provides a cluster of in-memory drives that can be told to
// be slow, to hang, to fail or to vanish, for tests of whatever uses package blob.
package blobtest

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"kintsugi/gateway/blob"
	"kintsugi/placement"
)

// Cluster is a cluster map and its drives.
type Cluster struct {
	Drives  []*Drive // in the order of their ids
	current atomic.Pointer[placement.Map]
	byID    map[placement.DriveID]*Drive
}

// NewCluster is born with the code k+m on so many drives, a node each.
func NewCluster(t testing.TB, drives, k, m int) *Cluster {
	t.Helper()
	c := &Cluster{byID: make(map[placement.DriveID]*Drive)}
	var members []placement.Drive
	for i := range drives {
		d := NewDrive(placement.DriveID{byte(i >> 8), byte(i), 1})
		c.Drives = append(c.Drives, d)
		c.byID[d.ID] = d
		members = append(members, placement.Drive{ID: d.ID, Node: fmt.Sprintf("node%d", i), Weight: 1})
	}
	born, err := placement.Birth(placement.ClusterID{1}, 64, k, m, members)
	if err != nil {
		t.Fatalf("Birth: %v", err)
	}
	c.current.Store(born)
	return c
}

// Map returns the cluster map.
func (c *Cluster) Map() *placement.Map { return c.current.Load() }

// Change makes a new epoch.
func (c *Cluster) Change(t testing.TB, changes ...placement.Change) {
	t.Helper()
	m, err := c.Map().With(changes...)
	if err != nil {
		t.Fatalf("With: %v", err)
	}
	c.current.Store(m)
}

// Add makes room for a drive that a Change is going to add, while nobody else uses the cluster.
func (c *Cluster) Add(d *Drive) {
	c.Drives = append(c.Drives, d)
	c.byID[d.ID] = d
}

// Drive returns a drive that is not known to be down.
func (c *Cluster) Drive(id placement.DriveID) blob.Drive {
	if d := c.byID[id]; d != nil && !d.down.Load() {
		return d
	}
	return nil
}

// Shards counts the healthy shards of a blob by chunk number and shard index, over all drives, also those that are down.
func (c *Cluster) Shards(id placement.BlobID) map[placement.ShardID]int {
	counts := make(map[placement.ShardID]int)
	for _, d := range c.Drives {
		for _, s := range d.shards(c.Map().Partitions) {
			if s.ID.Blob == id {
				counts[s.ID]++
			}
		}
	}
	return counts
}

// BlobID returns a random id.
func BlobID() placement.BlobID {
	var id placement.BlobID
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	return id
}
