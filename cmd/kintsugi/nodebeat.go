package main

import (
	"context"
	"time"

	"kintsugi/meta/membership"
	"kintsugi/placement"
)

// report is what this process says of itself in its next beat.
func (n *node) report() membership.Beat {
	b := membership.Beat{Drives: n.driveReports(), Epoch: n.epoch()}
	if f := n.founding.Load(); f != nil {
		b.Cluster = f.Cluster
	}
	if n.repair != nil {
		b.Clean, b.Repair = n.repair.report()
	}
	if n.front != nil {
		if at, ok := n.blobs.OldestRead(); ok {
			b.OldestRead = at.UnixMilli()
		}
	}
	if n.host != nil {
		host := n.host.id()
		if n.directory.Self().Host != host {
			n.directory.SetSelf(func(self *membership.Node) { self.Host = host })
		}
		b.Leads = n.host.leading()
	}
	return b
}

// apply takes what the coordinator says. until is when the lease ends.
func (n *node) apply(a membership.Answer, until time.Time) {
	n.refused.Store("")
	n.leased.Store(until.UnixMilli())
	n.ripe.Store(a.Ripe)
	if len(a.Map) > 0 {
		if m, err := membership.DecodeMap(a.Map); err != nil {
			n.log.Error("the coordinator sent a cluster map that cannot be read", "error", err)
		} else {
			n.setMap(m)
		}
	}
	came := n.view.setPeers(n.directory.Peers(), n.directory.Self().Incarnation)
	if n.repair == nil {
		return
	}
	if !n.fence.Leased() {
		n.repair.catchUp() // it was away, or is new: something may have been missed
	}
	n.fence.SetLease(until)
	for _, id := range a.Twice {
		n.shelf.refuse(id)
	}
	n.repair.order(a.Orders)
	if came {
		n.repair.notify()
	}
}

// isRefused takes note of why this process may not take part.
func (n *node) isRefused(reason string) {
	if last, _ := n.refused.Swap(reason).(string); last != reason {
		n.log.Error("the cluster refuses this node", "reason", reason)
	}
}

// setMap takes a newer map.
func (n *node) setMap(m *placement.Map) {
	before := n.epoch()
	n.view.setMap(m)
	if n.fence != nil {
		n.fence.SetMap(m)
		n.repair.notify()
	}
	if m.Epoch > before {
		n.log.Info("cluster map changed", "epoch", m.Epoch, "drives", len(m.Drives), "partitionsMoving", len(m.Open()))
	}
}

func (n *node) epoch() uint64 {
	if m := n.view.Map(); m != nil {
		return m.Epoch
	}
	return 0
}

// keepLater has the nodes noted on the drives. The agent that calls it must not wait for them: a drive that hangs
// would cost the lease of all.
func (n *node) keepLater(nodes []membership.Node) {
	select {
	case <-n.known: // older
	default:
	}
	n.known <- nodes
}

// keepKnown notes on the drives what keepLater was given.
func (n *node) keepKnown(ctx context.Context) {
	for {
		select {
		case nodes := <-n.known:
			n.record.peers(nodes)
		case <-ctx.Done():
			return
		}
	}
}

// staleMap is told that somebody knows the map of a later epoch.
func (n *node) staleMap(epoch uint64) {
	if epoch <= n.epoch() {
		return
	}
	select {
	case n.stale <- struct{}{}:
	default:
	}
}

// refreshMap gets the map when somebody knows a newer one, without waiting for the coordinator to tell.
func (n *node) refreshMap(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.stale:
		}
		call, cancel := context.WithTimeout(ctx, mapTimeout)
		m, err := n.meta.ClusterMap(call)
		cancel()
		if err != nil {
			n.log.Info("the newer cluster map cannot be got yet", "error", err)
		} else if m != nil {
			n.setMap(m)
		}
	}
}

// wantReplicas is the number of voters that survive what the data survives, at most five unless the operator chose more.
func (n *node) wantReplicas() int {
	const usual, most = 3, 5
	switch m := n.view.Map(); {
	case n.cfg.replicas > 0:
		return n.cfg.replicas
	case m != nil:
		return min(2*m.M+1, most)
	}
	return usual
}
