package main

import (
	"maps"
	"sync"
	"sync/atomic"

	"kintsugi/gateway/blob"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardstore"
)

// view is what this process sees of the cluster now: the newest map and the
// drives that are open. Readers never wait.
type view struct {
	current atomic.Pointer[snapshot]
	mu      sync.Mutex // serialises changes
}

type snapshot struct {
	clusterMap *placement.Map
	stores     map[placement.DriveID]*shardstore.Store
}

func newView() *view {
	v := &view{}
	v.current.Store(&snapshot{stores: map[placement.DriveID]*shardstore.Store{}})
	return v
}

// Map returns the newest cluster map.
func (v *view) Map() *placement.Map { return v.current.Load().clusterMap }

// Drive implements blob.Cluster: nil is a drive that is not open here.
func (v *view) Drive(id placement.DriveID) blob.Drive {
	if s := v.current.Load().stores[id]; s != nil {
		return s
	}
	return nil
}

// Peer implements storagenode.Cluster.
func (v *view) Peer(id placement.DriveID) storagenode.Peer {
	if s := v.current.Load().stores[id]; s != nil {
		return s
	}
	return nil
}

// setMap replaces the map unless it is older than what is known.
func (v *view) setMap(m *placement.Map) {
	v.change(func(s *snapshot) {
		if s.clusterMap == nil || m.Epoch > s.clusterMap.Epoch {
			s.clusterMap = m
		}
	})
}

func (v *view) setStore(id placement.DriveID, store *shardstore.Store) {
	v.change(func(s *snapshot) { s.stores[id] = store })
}

func (v *view) dropStore(id placement.DriveID) {
	v.change(func(s *snapshot) { delete(s.stores, id) })
}

func (v *view) change(edit func(*snapshot)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.current.Load()
	next := &snapshot{clusterMap: old.clusterMap, stores: maps.Clone(old.stores)}
	edit(next)
	v.current.Store(next)
}
