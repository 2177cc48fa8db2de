package main

import (
	"context"
	"time"

	"kintsugi/placement"
)

// monitorInterval is how often the bays are looked at.
const monitorInterval = 500 * time.Millisecond

// monitor notices drives that go, come back or are replaced, and keeps the
// cluster map true, until ctx ends.
func (e *embedded) monitor(ctx context.Context) {
	ticker := time.NewTicker(monitorInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			e.shelf.watch()
			e.mendMap(ctx)
		}
	}
}

// mendMap proposes what the map should learn from the bays and from the reconcilers.
func (e *embedded) mendMap(ctx context.Context) {
	changed := e.changeMap(ctx, func(m *placement.Map) (*placement.Map, error) {
		changes := nextChanges(m, e.presence(m), time.Now(), e.cfg.outAfter)
		if len(changes) == 0 {
			return m, nil
		}
		return m.With(changes...)
	})
	if changed {
		e.homesSince = e.view.Map().Epoch
	}
	if complete := e.repair.takeClean(e.homesSince); len(complete) > 0 {
		e.changeMap(ctx, func(m *placement.Map) (*placement.Map, error) { return m.Complete(complete), nil })
	}
}

// changeMap commits what edit makes of the newest map and publishes it. It tells whether the map is another.
func (e *embedded) changeMap(ctx context.Context, edit func(*placement.Map) (*placement.Map, error)) bool {
	m := e.view.Map()
	next, err := edit(m)
	if err != nil {
		e.log.Error("the cluster map cannot be changed", "error", err)
		return false
	}
	if next == m {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, metaTimeout)
	defer cancel()
	if err := e.meta.SetClusterMap(ctx, next); err != nil {
		e.log.Warn("the new cluster map is not committed yet", "epoch", next.Epoch, "error", err)
		if next, err = e.meta.ClusterMap(ctx); err != nil || next.Epoch == m.Epoch {
			return false
		}
	}
	e.view.setMap(next)
	e.repair.notify()
	e.log.Info("cluster map changed", "epoch", next.Epoch, "drives", len(next.Drives), "partitionsMoving", len(next.Open()))
	return true
}

// presence compares the bays with the map.
func (e *embedded) presence(m *placement.Map) presence {
	e.shelf.mu.Lock()
	defer e.shelf.mu.Unlock()
	p := presence{open: map[placement.DriveID]bool{}, gone: e.goneSince}
	for _, b := range e.shelf.openBays() {
		p.open[b.driveID()] = true
		delete(e.goneSince, b.driveID())
		if _, known := m.Drive(b.driveID()); !known {
			p.newest = append(p.newest, b.driveID())
		}
	}
	for _, d := range m.Drives {
		if !p.open[d.ID] && e.goneSince[d.ID].IsZero() {
			e.goneSince[d.ID] = time.Now()
		}
	}
	return p
}
