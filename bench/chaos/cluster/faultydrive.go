package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kintsugi/bench/chaos/faultdisk"
)

// mountFaulty puts a file system that can be ill under every drive. The processes are away meanwhile.
func (k *Cluster) mountFaulty(ctx context.Context) error {
	if k.config.Disk > 0 {
		k.noFaulty = fmt.Errorf("%w: drives have a size or can be ill, not both", ErrCannot)
		return k.noFaulty
	}
	drives, err := faultdisk.Start(k.output, k.config.Program, k.config.FaultyDrives...)
	if err != nil {
		k.noFaulty = fmt.Errorf("%w: %w", ErrCannot, err)
		return k.noFaulty
	}
	nodes := slices.DeleteFunc(slices.Clone(k.Nodes()), func(n *Node) bool { return len(n.Dirs) == 0 })
	errs := killAll(ctx, nodes)
	for _, n := range nodes {
		for _, dir := range n.Dirs {
			if err := drives.Mount(dir); err != nil && k.noFaulty == nil {
				k.noFaulty = fmt.Errorf("%w: %w", ErrCannot, err)
			}
		}
	}
	if k.noFaulty != nil {
		errs = errors.Join(errs, drives.Close())
	} else {
		k.drives = drives
	}
	return errors.Join(errs, k.startAll(nodes), k.noFaulty)
}

// canBeIll tells why the drives of nodes cannot be ill, or nil.
func (k *Cluster) canBeIll(nodes []*Node) error {
	if k.noFaulty != nil {
		return k.noFaulty
	}
	for _, n := range nodes {
		for _, dir := range n.Dirs {
			if k.drives == nil || !k.drives.Has(dir) {
				return fmt.Errorf("%w: the drives of %s have no file system that can be ill", ErrCannot, n.Name)
			}
		}
	}
	return nil
}

// setDrives says what is wrong with the drives of nodes from now on.
func (k *Cluster) setDrives(nodes []*Node, f faultdisk.Faults, how How) (errs error) {
	for _, n := range nodes {
		for _, dir := range n.Dirs {
			errs = errors.Join(errs, k.drives.Set(dir, f, how.Rand.Uint64()))
		}
	}
	return errs
}

// illness makes drives ill while the processes run; undone, they are well.
func (k *Cluster) illness(nodes []*Node, f faultdisk.Faults, how How) (Undo, error) {
	if err := k.canBeIll(nodes); err != nil {
		return nil, err
	}
	heal := func(context.Context) error { return k.setDrives(nodes, faultdisk.Faults{}, how) }
	return heal, k.setDrives(nodes, f, how)
}

// place is the directory in a drive where errors happen.
func (h How) place() string {
	if h.Where == "metadata" {
		return "meta"
	}
	return h.Where
}

// delay makes every read, write and sync take longer.
func delay(_ context.Context, k *Cluster, nodes []*Node, how How) (Undo, error) {
	return k.illness(nodes, faultdisk.Faults{Delay: how.By}, how)
}

// readErrors has reads fail.
func readErrors(_ context.Context, k *Cluster, nodes []*Node, how How) (Undo, error) {
	return k.illness(nodes, faultdisk.Faults{ReadErrors: how.Share, Where: how.place()}, how)
}

// writeErrors has writes and syncs fail.
func writeErrors(_ context.Context, k *Cluster, nodes []*Node, how How) (Undo, error) {
	return k.illness(nodes, faultdisk.Faults{WriteErrors: how.Share, Where: how.place()}, how)
}

// powerCut kills nodes, and what their drives had not synced is lost, or a part of it; undone, they are started again.
func powerCut(ctx context.Context, k *Cluster, nodes []*Node, how How) (Undo, error) {
	if err := k.canBeIll(nodes); err != nil {
		return nil, err
	}
	if err := k.cutPower(ctx, nodes, true, how); err != nil {
		return nil, errors.Join(err, k.startAll(nodes))
	}
	return func(context.Context) error { return k.startAll(nodes) }, nil
}

func (k *Cluster) cutPower(ctx context.Context, nodes []*Node, torn bool, how How) error {
	errs := killAll(ctx, nodes)
	for _, n := range nodes {
		for _, dir := range n.Dirs {
			errs = errors.Join(errs, k.drives.Cut(dir, torn, how.Rand.Uint64()))
		}
	}
	return errs
}

// lostSyncs has drives acknowledge syncs that they do not make; undone, their power fails, which takes all since then away, and they are
// honest again.
func lostSyncs(_ context.Context, k *Cluster, nodes []*Node, how How) (Undo, error) {
	if _, err := k.illness(nodes, faultdisk.Faults{LostSyncs: true}, how); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		return errors.Join(k.cutPower(ctx, nodes, false, how), k.startAll(nodes))
	}, nil
}

// lostWrites has writes acknowledged that are not made.
func lostWrites(_ context.Context, k *Cluster, nodes []*Node, how How) (Undo, error) {
	return k.illness(nodes, faultdisk.Faults{Lost: how.Count, Where: how.place()}, how)
}

// misdirectedWrites has writes made in the wrong place.
func misdirectedWrites(_ context.Context, k *Cluster, nodes []*Node, how How) (Undo, error) {
	return k.illness(nodes, faultdisk.Faults{Misdirected: how.Count, Where: how.place()}, how)
}
