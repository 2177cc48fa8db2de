package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"kintsugi/internal/drive"
	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/meta/membership"
	"kintsugi/meta/replica"
	"kintsugi/placement"
)

// convert keeps what a store that lived in one process was founded with, so that this node goes on with it.
func (n *node) convert(ctx context.Context, self membership.Node, cluster drive.ID, found []probed) error {
	f, err := convert(ctx, n.cfg, self, cluster, found, n.log)
	if err != nil {
		return err
	}
	return n.record.found(f)
}

// convert makes a store that lived in one process the first node of a cluster: its metadata, which had a replica on
// many drives, keeps one; other nodes get theirs when they join. Drives and their shards stay as they are, and the map says
// that they are at this node, self. A convert that was cut short is taken up by the next start.
func convert(ctx context.Context, cfg nodeConfig, self membership.Node, cluster drive.ID, found []probed, log *slog.Logger) (membership.Founding, error) {
	if at, _ := findReplica(cfg.dirs); cfg.roles&rpc.Meta == 0 || at < 0 {
		return membership.Founding{}, fmt.Errorf("%s: the drives belong to a store in one process, cluster %s: let that join first, with kintsugi server --join, or name empty directories", strings.Join(cfg.dirs, ", "), placement.ClusterID(cluster))
	}
	log.Info("a store in one process becomes the first node of a cluster", "drives", len(cfg.dirs))
	e := newEmbedded(cfg.serverConfig, log)
	defer e.closeParts()
	if err := e.resume(ctx, cluster, found); err != nil {
		return membership.Founding{}, err
	}
	limited, cancel := context.WithTimeout(ctx, metaTimeout)
	defer cancel()
	last, id, err := e.replicas.Condense(limited)
	if err != nil {
		return membership.Founding{}, fmt.Errorf("its metadata cannot be brought to one drive: start it once more with all of its drives: %w", err)
	}
	m, err := settleDrives(limited, e.meta, self)
	if err != nil {
		return membership.Founding{}, err
	}
	f := membership.Founding{
		Format: membership.Format, Cluster: m.Cluster, Partitions: m.Partitions, Groups: e.replicas.Groups(),
		K: m.K, M: m.M, Voters: []uint64{id}, Seeds: 1,
	}
	if err := e.replicas.Close(); err != nil {
		return membership.Founding{}, err
	}
	var errs []error
	for _, b := range e.shelf.openBays() {
		if d := b.replicaDrive(); d != last {
			errs = append(errs, replica.Discard(d))
		}
	}
	if cfg.credentials == nil {
		log.Warn("gateways now take the root credentials from the environment or the cluster secret: to keep the old ones, set them on every node",
			"old", e.credentials.source, "set", "KINTSUGI_ROOT_ACCESS_KEY, KINTSUGI_ROOT_SECRET_KEY")
	}
	return f, errors.Join(errs...)
}

// settleDrives has the map say that all drives are at the node self: its coordinator would wait for the node that the map
// names before it believed that they are here. It returns the map.
func settleDrives(ctx context.Context, c *meta.Client, self membership.Node) (*placement.Map, error) {
	m, err := c.ClusterMap(ctx)
	if err != nil {
		return nil, err
	}
	var moves []placement.Change
	for _, d := range m.Drives {
		if d.Node != self.Name || d.Zone != self.Zone {
			moves = append(moves, placement.MoveDrive{ID: d.ID, Node: self.Name, Zone: self.Zone})
		}
	}
	if len(moves) == 0 {
		return m, nil
	}
	if m, err = m.With(moves...); err != nil {
		return nil, err
	}
	return m, c.SetClusterMap(ctx, m)
}
