package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Fault is something that is done to nodes. Undo, if it is not nil, ends it.
type Fault func(ctx context.Context, k *Cluster, nodes []*Node, how How) (undo Undo, err error)

// Undo ends a fault.
type Undo func(context.Context) error

// How says how much of a fault there is.
type How struct {
	Count int    // of flips, files or new nodes
	Where string // "shards" or "metadata"
	By    time.Duration
	Share float64    // of calls that fail
	Rand  *rand.Rand // decides what the description leaves open
}

// ErrCannot says that this machine has no means for a fault. What comes with it is the reason.
var ErrCannot = errors.New("this machine cannot")

// faults are those that are known, by name.
var faults = map[string]Fault{
	"kill": kill, "stop": stop, "slow": slow, "restart": restart, "wipe": wipe, "rollback": rollback, "swap": swap,
	"flip": flip, "truncate": truncate, "fill": fill, "cut": cut, "mute": mute, "lossy": lossy, "reset": reset,
	"delay": delay, "read-errors": readErrors, "write-errors": writeErrors, "power-cut": powerCut, "lost-syncs": lostSyncs,
	"lost-writes": lostWrites, "misdirected": misdirectedWrites,
	"grow": grow, "drain": drain, "scrub": scrub, "narrow": narrow, "clone": clone, "stranger": stranger,
}

// Inject does it to the nodes with these names.
func (k *Cluster) Inject(ctx context.Context, name string, names []string, how How) (Undo, error) {
	f, known := faults[name]
	if !known {
		return nil, fmt.Errorf("cluster: there is no fault %q", name)
	}
	var nodes []*Node
	for _, name := range names {
		n, err := k.Node(name)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return f(ctx, k, nodes, how)
}

// Mend lets all packets through, heals the drives, starts every process that does not run and lets those go on that were stopped, whatever happened.
func (k *Cluster) Mend() error {
	errs := k.clearFilters(context.Background())
	if k.drives != nil {
		errs = errors.Join(errs, k.drives.Heal())
	}
	for _, n := range k.Members() {
		if !n.Alive() {
			errs = errors.Join(errs, k.Start(n))
		} else if _, _, stopped := n.State(); stopped {
			errs = errors.Join(errs, n.Continue())
		}
	}
	return errs
}

// kill ends processes without any warning, all at one moment; undone, they are started again.
func kill(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	if err := killAll(ctx, nodes); err != nil {
		return nil, err
	}
	return func(context.Context) error { return k.startAll(nodes) }, nil
}

func killAll(ctx context.Context, nodes []*Node) (errs error) {
	for _, n := range nodes {
		errs = errors.Join(errs, n.Kill())
	}
	for _, n := range nodes {
		errs = errors.Join(errs, n.WaitGone(ctx))
	}
	return errs
}

func (k *Cluster) startAll(nodes []*Node) (errs error) {
	for _, n := range nodes {
		errs = errors.Join(errs, k.Start(n))
	}
	return errs
}

// stop keeps processes from running; their connections stay open and are silent.
func stop(_ context.Context, _ *Cluster, nodes []*Node, _ How) (Undo, error) {
	var errs error
	for _, n := range nodes {
		errs = errors.Join(errs, n.Stop())
	}
	return func(context.Context) error { return continueAll(nodes) }, errs
}

func continueAll(nodes []*Node) (errs error) {
	for _, n := range nodes {
		errs = errors.Join(errs, n.Continue())
	}
	return errs
}

// A slow node runs for a tenth of the time: slowRuns of every slowPeriod.
const slowPeriod, slowRuns = 200 * time.Millisecond, 20 * time.Millisecond

// slow lets processes run for a small part of the time only: every answer takes as long as that of a disk that is ill.
func slow(_ context.Context, _ *Cluster, nodes []*Node, _ How) (Undo, error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(slowPeriod)
		defer tick.Stop()
		for ctx.Err() == nil {
			for _, n := range nodes {
				_ = n.Stop() // it may have died, which others notice
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
			_ = continueAll(nodes)
			timer := time.NewTimer(slowRuns)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
	}()
	return func(context.Context) error {
		cancel()
		<-done
		return continueAll(nodes)
	}, nil
}

// restart ends processes as an upgrade does and starts them again.
func restart(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	var errs error
	for _, n := range nodes {
		errs = errors.Join(errs, n.Terminate())
	}
	for _, n := range nodes {
		errs = errors.Join(errs, n.WaitGone(ctx))
	}
	return nil, errors.Join(errs, k.startAll(nodes))
}
