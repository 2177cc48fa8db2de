package main

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"kintsugi/internal/drive"
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
			e.watchBays()
			e.mendMap(ctx)
		}
	}
}

// watchBays closes the drives that failed and opens those that came.
func (e *embedded) watchBays() {
	e.baysMu.Lock()
	defer e.baysMu.Unlock()
	for _, b := range e.bays { // all of them first: drives may have changed places
		if !b.isOpen() {
			continue
		}
		if cause := b.trouble(); cause != nil {
			e.eject(b, cause)
		}
	}
	for _, b := range e.bays {
		if !b.isOpen() {
			e.tryBay(b)
		}
	}
}

// eject ends the use of the drive in b.
func (e *embedded) eject(b *bay, cause error) {
	e.log.Warn("drive is lost", "dir", b.dir, "error", cause)
	e.view.dropStore(b.driveID())
	e.replicas.RemoveDrive(b.replicaDrive())
	if e.repair != nil {
		e.repair.stopDrive(b.driveID())
	}
	if inodeOf(b.dir) == b.inode && !errors.Is(cause, errGone) && !isEmpty(b.dir) {
		b.condemn() // it failed while it was there
	}
	if err := b.close(); err != nil {
		e.log.Info("closing the lost drive", "dir", b.dir, "error", err)
	}
}

// tryBay opens the drive that came into an empty bay, if one did.
func (e *embedded) tryBay(b *bay) {
	inode := inodeOf(b.dir)
	if inode == 0 || b.isCondemned(inode) {
		return
	}
	state, id, err := drive.Probe(b.dir)
	switch {
	case err != nil:
		e.condemn(b, err)
	case state == drive.Member:
		e.readmit(b, id)
	case state == drive.Empty, state == drive.Birth:
		e.welcome(b)
	case state == drive.Damaged:
		e.condemn(b, errNoIdentity)
	}
}

// condemn leaves what is in the bay alone for a while.
func (e *embedded) condemn(b *bay, cause error) {
	b.condemn()
	e.log.Warn("drive cannot be used: mend or replace the directory", "dir", b.dir, "error", cause, "nextTry", b.condemned.pause)
}

// readmit opens a drive that comes back, or comes from another bay.
func (e *embedded) readmit(b *bay, id drive.Identity) {
	m := e.view.Map()
	switch {
	case m != nil && m.Cluster != placement.ClusterID(id.Cluster):
		e.condemn(b, errForeign)
		return
	case e.bayOf(placement.DriveID(id.Drive)) != nil:
		e.condemn(b, errTwice)
		return
	}
	if err := e.openBay(b, id); err != nil {
		e.condemn(b, err)
		return
	}
	if err := drive.Mend(b.dir, id); err != nil {
		e.log.Warn("drive identity cannot be mended", "dir", b.dir, "error", err)
	}
	e.log.Info("drive is back", "dir", b.dir)
	e.admit(b)
}

// welcome makes a drive of the empty directory in b. Its shards and its
// metadata replica come from the others.
func (e *embedded) welcome(b *bay) {
	m := e.view.Map()
	if m == nil {
		return // the metadata is not there yet: nothing to join
	}
	id := drive.Identity{
		Cluster: drive.ID(m.Cluster), Created: time.Now().UTC().Truncate(time.Second),
		Partitions: m.Partitions, Groups: e.replicas.Groups(),
	}
	rand.Read(id.Drive[:]) // never fails
	err := prepare(b, id)
	if err == nil {
		err = drive.Commit(b.dir, id)
	}
	if err == nil {
		err = e.openBay(b, id)
	}
	if err != nil {
		e.condemn(b, err)
		return
	}
	e.keepCredentials(b.dir)
	e.log.Info("an empty directory became a drive", "dir", b.dir, "drive", b.driveID().String())
	e.admit(b)
}

// admit lets metadata and repair use the drive in b.
func (e *embedded) admit(b *bay) {
	e.replicas.AddDrive(b.replicaDrive())
	if e.repair != nil {
		e.repair.start(b)
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
	e.baysMu.Lock()
	defer e.baysMu.Unlock()
	p := presence{open: map[placement.DriveID]bool{}, gone: e.goneSince}
	for _, b := range e.bays {
		if !b.isOpen() {
			continue
		}
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
