package main

import (
	"time"

	"kintsugi/internal/drive"
	"kintsugi/internal/rpc"
	"kintsugi/meta/membership"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardrpc"
)

// clusterSettle is the age from which a chunk that lacks shards is repaired where its writer may be anywhere.
const clusterSettle = 10 * time.Second

// shardMemory bounds the payloads in flight at a storage node, each way, in bytes.
const shardMemory = 16 << 20

// makeStorage makes what serves shards. The drives come with the cluster.
func (n *node) makeStorage() (err error) {
	if n.fence, err = storagenode.NewFence(n.metrics); err != nil {
		return err
	}
	n.view.fence = n.fence
	n.repair, err = newRepair(repairConfig{
		view: n.view, fence: n.fence, settle: clusterSettle, busy: n.isBusy, remote: n.hints.hint, log: n.log, metrics: n.metrics,
	})
	if err != nil {
		return err
	}
	shards, err := shardrpc.New(shardrpc.ServerConfig{
		Drives: n.ownStore, Fence: n.fence, Map: n.view.Map, Hint: n.repair.hintLocal, Memory: shardMemory,
		Logger: n.log, Registerer: n.metrics,
	})
	if err != nil {
		return err
	}
	shards.Handle(n.server)
	return nil
}

// ownStore returns the shard store of a drive of this process.
func (n *node) ownStore(id placement.DriveID) shardrpc.Store {
	if s := n.view.current.Load().stores[id]; s != nil {
		return s
	}
	return nil
}

// isBusy tells whether there is foreground traffic here.
func (n *node) isBusy() bool { return n.front != nil && n.serving.Load() && n.front.Busy() }

// cluster implements keeper.
func (n *node) cluster() (placement.ClusterID, bool) {
	f := n.founding.Load()
	if f == nil {
		return placement.ClusterID{}, false
	}
	return f.Cluster, true
}

// newIdentity implements keeper.
func (n *node) newIdentity() (drive.Identity, bool) {
	f := n.founding.Load()
	if f == nil {
		return drive.Identity{}, false
	}
	return drive.Identity{Cluster: drive.ID(f.Cluster), Partitions: f.Partitions, Groups: f.Groups}, true
}

// admitted implements keeper.
func (n *node) admitted(b *bay) {
	n.record.keep(b.dir)
	n.reported.add(b)
	if n.repair != nil {
		n.repair.start(b)
	}
}

// lost implements keeper.
func (n *node) lost(b *bay) {
	n.reported.remove(b.driveID())
	if n.host != nil {
		n.host.lost(b)
	}
	if n.repair != nil {
		n.repair.stopDrive(b.driveID())
	}
}

// driveReports describes the drives that keep shards.
func (n *node) driveReports() []membership.DriveReport {
	if !n.is(rpc.Storage) {
		return nil
	}
	var reports []membership.DriveReport
	for _, d := range n.reported.list() {
		u := d.store.Usage()
		reports = append(reports, membership.DriveReport{
			ID: d.id, Dir: d.dir, Capacity: u.CapacityBytes, Free: u.FreeBytes, Used: u.UsedBytes,
			Live: u.LiveBytes, Shards: u.Shards, Corrupt: u.Corrupt, Fresh: d.fresh,
			Scrubbed: n.repair.scrubbed(d.id),
		})
	}
	return reports
}
