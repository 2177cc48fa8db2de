package main

import (
	"context"
	"sync"
	"sync/atomic"

	"kintsugi/gateway/blob"
	"kintsugi/internal/rpc"
	"kintsugi/meta/membership"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardrpc"
	"kintsugi/storagenode/shardstore"
)

// clusterView is what a process of a cluster sees of it now: the newest map, its own drives, and those of nodes that
// are up. Readers never wait.
type clusterView struct {
	*view
	client  *rpc.Client
	options shardrpc.Options
	fence   *storagenode.Fence // of the own drives; set before any is open

	mu      sync.Mutex // serialises changes
	remotes atomic.Pointer[map[placement.DriveID]remoteDrive]
}

// remoteDrive is a drive of another process. The data path judges the value: it stays the same as long as the process does.
type remoteDrive struct {
	*shardrpc.Drive
	node        string
	addr        string
	incarnation uint64
}

func newClusterView(v *view, client *rpc.Client, options shardrpc.Options) *clusterView {
	c := &clusterView{view: v, client: client, options: options}
	c.remotes.Store(&map[placement.DriveID]remoteDrive{})
	return c
}

// Drive implements blob.Cluster: nil is a drive whose node is down or that is not known.
func (c *clusterView) Drive(id placement.DriveID) blob.Drive {
	if s := c.view.current.Load().stores[id]; s != nil {
		return writtenDrive{s, id, c.fence}
	}
	if r, ok := (*c.remotes.Load())[id]; ok {
		return r.Drive
	}
	return nil
}

// Peer implements storagenode.Cluster.
func (c *clusterView) Peer(id placement.DriveID) storagenode.Peer {
	if s := c.view.current.Load().stores[id]; s != nil {
		return ownDrive{s, c.fence}
	}
	if r, ok := (*c.remotes.Load())[id]; ok {
		return r.Drive
	}
	return nil
}

// writtenDrive is a drive of this process as its gateway sees it: the fence that stands before what other processes
// write stands before it, too.
type writtenDrive struct {
	*shardstore.Store
	id    placement.DriveID
	fence *storagenode.Fence
}

// Put implements blob.Drive, as a write of another process would be taken.
func (d writtenDrive) Put(ctx context.Context, h shardstore.Header, payload []byte) error {
	d.fence.Await(ctx)
	if err := d.fence.Admit(h.Partition, d.id, h.Epoch); err != nil {
		return err
	}
	if err := d.Store.Put(ctx, h, payload); err != nil {
		return err
	}
	return d.fence.Admit(h.Partition, d.id, h.Epoch)
}

// ownDrive is a drive of this process as repair sees it. What is surplus by a map that others know to be old must not go
// from it either: they have seen it there, and may count on it.
type ownDrive struct {
	*shardstore.Store
	fence *storagenode.Fence
}

// DropUnder implements storagenode.Dropper.
func (d ownDrive) DropUnder(ctx context.Context, epoch uint64, ids []placement.ShardID) error {
	if err := d.fence.AdmitDrop(epoch, ids); err != nil {
		return err
	}
	return d.Drop(ctx, ids)
}

// nodeAddr returns where the drive id is, "" if it is not at another node that is up.
func (c *clusterView) nodeAddr(id placement.DriveID) string { return (*c.remotes.Load())[id].addr }

// setPeers takes a new table of the nodes; self is this one. It tells whether a drive came.
func (c *clusterView) setPeers(peers []membership.Peer, self uint64) (came bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.remotes.Load()
	next := make(map[placement.DriveID]remoteDrive, len(old))
	for _, p := range peers {
		if !p.Up || p.Node.Incarnation == self {
			continue
		}
		for _, id := range p.Drives {
			r, known := old[id]
			if !known || r.incarnation != p.Node.Incarnation || r.addr != p.Node.Addr {
				r = remoteDrive{shardrpc.NewDrive(c.client, p.Node.Addr, id, c.options), p.Node.Name, p.Node.Addr, p.Node.Incarnation}
				came = true
			}
			next[id] = r
		}
	}
	c.remotes.Store(&next)
	return came
}
