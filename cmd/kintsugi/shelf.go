package main

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/internal/drive"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// shelf is the drives of a process: it opens those that come into its bays, makes new ones of empty
// directories, and closes those that fail or go.
type shelf struct {
	log     *slog.Logger
	metrics prometheus.Registerer
	view    *view
	keeper  keeper
	shards  bool // the drives keep shards, not only metadata

	mu   sync.Mutex // guards the bays once the monitor runs
	bays []*bay
}

// keeper is the process that a shelf belongs to.
type keeper interface {
	// cluster is whose drives are let in; ok is false while that is not known.
	cluster() (id placement.ClusterID, ok bool)
	// newIdentity is that of the next new drive, but for its own id; ok is false while none can be made.
	newIdentity() (id drive.Identity, ok bool)
	// admitted is told of a drive that was opened.
	admitted(b *bay)
	// lost is told of a drive that is about to be closed.
	lost(b *bay)
}

func newShelf(dirs []string, shards bool, v *view, k keeper, log *slog.Logger, metrics prometheus.Registerer) *shelf {
	s := &shelf{log: log, metrics: metrics, view: v, keeper: k, shards: shards}
	for _, dir := range dirs {
		s.bays = append(s.bays, &bay{dir: dir})
	}
	return s
}

// open opens the drive id in b and shows it to the data path.
func (s *shelf) open(b *bay, id drive.Identity) error {
	if !s.shards {
		return b.open(id, nil)
	}
	err := b.open(id, &shardstore.Config{
		Drive:       placement.DriveID(id.Drive),
		SegmentSize: segmentSize(b.dir),
		Logger:      s.log.With("dir", b.dir),
		Registerer:  s.metrics,
	})
	if err == nil {
		s.view.setStore(b.driveID(), b.store)
	}
	return err
}

// openFound opens the drives that are there, side by side, and returns why each of the others is not.
func (s *shelf) openFound(found []probed) []error {
	var opening sync.WaitGroup
	failed := make([]error, len(s.bays))
	for i, p := range found {
		if p.state != drive.Member && p.state != drive.Birth {
			s.log.Warn("drive is not there", "dir", p.dir, "state", p.state.String(), "error", p.err)
			continue
		}
		opening.Go(func() {
			b := s.bays[i]
			b.id = p.id
			if failed[i] = s.complete(p); failed[i] == nil {
				failed[i] = s.open(b, p.id)
			}
			if failed[i] != nil && !errors.Is(failed[i], drive.ErrInUse) {
				s.log.Warn("drive cannot be opened", "dir", b.dir, "error", failed[i])
			}
		})
	}
	opening.Wait()
	return failed
}

// complete ends a birth that other drives ended already, and mends the identity's copies.
func (s *shelf) complete(p probed) error {
	if p.state == drive.Birth {
		return drive.Commit(p.dir, p.id)
	}
	if err := drive.Mend(p.dir, p.id); err != nil {
		s.log.Warn("drive identity cannot be mended", "dir", p.dir, "error", err)
	}
	return nil
}

// watch closes the drives that failed and opens those that came.
func (s *shelf) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bays { // all of them first: drives may have changed places
		if !b.isOpen() {
			continue
		}
		if cause := b.trouble(); cause != nil {
			s.eject(b, cause)
		}
	}
	for _, b := range s.bays {
		if !b.isOpen() {
			s.tryBay(b)
		}
	}
}

// eject ends the use of the drive in b.
func (s *shelf) eject(b *bay, cause error) {
	s.log.Warn("drive is lost", "dir", b.dir, "error", cause)
	s.view.dropStore(b.driveID())
	s.keeper.lost(b)
	if inodeOf(b.dir) == b.inode && !errors.Is(cause, errGone) && !isEmpty(b.dir) {
		b.condemn() // it failed while it was there
	}
	if err := b.close(); err != nil {
		s.log.Info("closing the lost drive", "dir", b.dir, "error", err)
	}
}

// tryBay opens the drive that came into an empty bay, if one did.
func (s *shelf) tryBay(b *bay) {
	inode := inodeOf(b.dir)
	if inode == 0 || b.isCondemned(inode) {
		return
	}
	state, id, err := drive.Probe(b.dir)
	switch {
	case err != nil:
		s.condemn(b, err)
	case state == drive.Member:
		s.readmit(b, id)
	case state == drive.Empty, state == drive.Birth:
		s.welcome(b)
	case state == drive.Damaged:
		s.condemn(b, errNoIdentity)
	}
}

// condemn leaves what is in the bay alone for a while.
func (s *shelf) condemn(b *bay, cause error) {
	b.condemn()
	s.log.Warn("drive cannot be used: mend or replace the directory", "dir", b.dir, "error", cause, "nextTry", b.condemned.pause)
}

// readmit opens a drive that comes back, or comes from another bay.
func (s *shelf) readmit(b *bay, id drive.Identity) {
	cluster, known := s.keeper.cluster()
	switch {
	case known && cluster != placement.ClusterID(id.Cluster):
		s.condemn(b, errForeign)
		return
	case s.bayOf(placement.DriveID(id.Drive)) != nil:
		s.condemn(b, errTwice)
		return
	}
	if err := s.open(b, id); err != nil {
		s.condemn(b, err)
		return
	}
	if err := drive.Mend(b.dir, id); err != nil {
		s.log.Warn("drive identity cannot be mended", "dir", b.dir, "error", err)
	}
	s.log.Info("drive is back", "dir", b.dir)
	b.fresh = false
	s.keeper.admitted(b)
}

// welcome makes a drive of the empty directory in b. What it should hold comes from the others.
func (s *shelf) welcome(b *bay) {
	id, ok := s.keeper.newIdentity()
	if !ok {
		return
	}
	id.Created = time.Now().UTC().Truncate(time.Second)
	rand.Read(id.Drive[:]) // never fails
	err := prepare(b, id)
	if err == nil {
		err = drive.Commit(b.dir, id)
	}
	if err == nil {
		err = s.open(b, id)
	}
	if err != nil {
		s.condemn(b, err)
		return
	}
	s.log.Info("an empty directory became a drive", "dir", b.dir, "drive", b.driveID().String())
	b.fresh = true
	s.keeper.admitted(b)
}

// refuse gives up an open drive that another node has, too.
func (s *shelf) refuse(id placement.DriveID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.bayOf(id); b != nil {
		s.eject(b, errTwice)
	}
}

// bayOf returns the bay whose open drive has this id, or nil. The caller holds mu once the monitor runs.
func (s *shelf) bayOf(id placement.DriveID) *bay {
	i := slices.IndexFunc(s.bays, func(b *bay) bool { return b.isOpen() && b.driveID() == id })
	if i < 0 {
		return nil
	}
	return s.bays[i]
}

// openBays returns the bays with an open drive. The caller holds mu once the monitor runs.
func (s *shelf) openBays() []*bay {
	return slices.DeleteFunc(slices.Clone(s.bays), func(b *bay) bool { return !b.isOpen() })
}

// statuses are for people.
func (s *shelf) statuses() []driveStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []driveStatus
	for _, b := range s.bays {
		d := driveStatus{Dir: b.dir, State: "lost"}
		if b.isOpen() {
			d.ID, d.State = b.driveID().String(), "open"
			if b.store != nil {
				usage := b.store.Usage()
				d.Used, d.Free = usage.UsedBytes, usage.FreeBytes
			}
		}
		all = append(all, d)
	}
	return all
}

// close closes every drive.
func (s *shelf) close() error {
	var errs []error
	for _, b := range s.bays {
		errs = append(errs, b.close())
	}
	return errors.Join(errs...)
}
