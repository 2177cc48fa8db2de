package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/meta/raftgroup"
	"kintsugi/placement"
)

// Config of a Set.
type Config struct {
	Groups int
	// Want is how many voters every group is to have, given as many drives: 2m+1. With 0
	// members stay as they are until SetWant.
	Want int
	// AbandonAfter is how long a dead voter without a successor stays a member. Default 10 s.
	AbandonAfter time.Duration
	Logger       *slog.Logger
	// Registerer gives that of the host on a drive. Nil: no metrics.
	Registerer func(placement.DriveID) prometheus.Registerer
}

// Set is the hosts of one process. It implements meta.Consensus.
type Set struct {
	cfg       Config
	log       *slog.Logger
	transport *raftgroup.Memory
	leaders   []atomic.Uint64 // per group: the id of the host that led when last asked
	full      atomic.Bool     // too few drives have room for commands that add data
	want      atomic.Int64    // voters of every group
	wake      chan struct{}   // the controller has something to look at
	stop      context.CancelFunc
	running   sync.WaitGroup

	mu      sync.RWMutex
	hosts   map[uint64]*host     // those that run, by id
	drives  []Drive              // those that may have a host
	lineage []uint64             // of every host that is not stale
	died    map[uint64]time.Time // when a host was first missed
	retry   map[Drive]time.Time  // a drive whose host failed is not tried before
	backoff map[Drive]time.Duration
}

// Birth makes the hosts of a new cluster on the first drives and starts them.
func Birth(cfg Config, drives []Drive) (*Set, error) {
	voters := make([]uint64, min(max(cfg.Want, 1), len(drives)))
	for i := range voters {
		voters[i] = newID()
	}
	for i, id := range voters {
		if err := makeHostDir(drives[i].Dir, record{ID: id, Voters: voters}); err != nil {
			return nil, fmt.Errorf("metadata of %s: %w", drives[i].Dir, err)
		}
	}
	return Open(cfg, drives)
}

// Open starts the hosts that are on the drives. A host that is damaged or was left behind
// is replaced once the others can serve. It fails if two hosts went on without each other.
func Open(cfg Config, drives []Drive) (*Set, error) {
	cfg.AbandonAfter = cmp.Or(cfg.AbandonAfter, 10*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.Registerer == nil {
		cfg.Registerer = func(placement.DriveID) prometheus.Registerer { return nil }
	}
	s := &Set{
		cfg: cfg, log: cfg.Logger, transport: raftgroup.NewMemory(),
		leaders: make([]atomic.Uint64, cfg.Groups), wake: make(chan struct{}, 1),
		hosts: map[uint64]*host{}, drives: slices.Clone(drives),
		died: map[uint64]time.Time{}, retry: map[Drive]time.Time{}, backoff: map[Drive]time.Duration{},
	}
	s.want.Store(int64(cfg.Want))
	records, err := s.readRecords()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.openAll(ctx, records)
	s.lead()
	s.running.Go(func() { s.control(ctx) })
	return s, nil
}

// readRecords returns the records of the hosts that are not stale, by drive directory.
func (s *Set) readRecords() (map[string]record, error) {
	records := map[string]record{}
	for _, d := range s.drives {
		r, err := readRecord(d.Dir)
		if err == nil {
			records[d.Dir] = r
		} else if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("metadata replica is damaged and will be rebuilt", "dir", d.Dir, "error", err)
		}
	}
	var err error
	if s.lineage, err = newestLineage(records); err != nil {
		return nil, err
	}
	for dir, r := range records {
		if r.isStale(s.lineage) {
			s.log.Warn("metadata replica was left behind and will be rebuilt", "dir", dir)
			delete(records, dir)
		}
	}
	return records, nil
}

// openAll starts the hosts side by side: each has a log and a state to replay. Hosts whose log
// ends in doubt are needed only if the others are no quorum; else they are rebuilt.
func (s *Set) openAll(ctx context.Context, records map[string]record) {
	all := len(s.alive()) + len(records)
	doubtful := s.openSome(ctx, records, false)
	if len(doubtful) > 0 && len(s.alive()) <= all/2 {
		s.openSome(ctx, doubtful, true)
	}
}

// openSome returns the records of the hosts that did not start because their log ends in doubt.
func (s *Set) openSome(ctx context.Context, records map[string]record, cutTail bool) map[string]record {
	doubtful := map[string]record{}
	var mu sync.Mutex // guards doubtful
	var opening sync.WaitGroup
	for _, d := range s.allDrives() {
		r, ok := records[d.Dir]
		if !ok {
			continue
		}
		opening.Go(func() {
			h, err := s.openHost(d, r, cutTail)
			switch {
			case err == nil:
				s.started(ctx, h)
			case errors.Is(err, raftgroup.ErrDoubtfulTail):
				s.log.Info("the last batch of the metadata log is in doubt", "dir", d.Dir)
				mu.Lock()
				doubtful[d.Dir] = r
				mu.Unlock()
			default:
				s.log.Warn("metadata replica cannot be opened and will be rebuilt", "dir", d.Dir, "error", err)
				s.postpone(d)
			}
		})
	}
	opening.Wait()
	return doubtful
}

// started makes h a running host of the set. Its log now knows the first voters: were they to stay in the record,
// a host that lost its log could be born again under an id that has voted.
func (s *Set) started(ctx context.Context, h *host) {
	if len(h.Voters) > 0 {
		h.Voters = nil
		if err := h.record.write(h.drive.Dir); err != nil {
			s.log.Warn("metadata replica's record cannot be written", "dir", h.drive.Dir, "error", err)
		}
	}
	s.mu.Lock()
	s.hosts[h.ID] = h
	delete(s.died, h.ID)
	s.mu.Unlock()
	s.running.Go(func() { s.watch(ctx, h) })
	s.running.Go(func() { h.scrub(ctx, s.log) })
}

// hostFailed takes h out of the set; the controller replaces it.
func (s *Set) hostFailed(h *host, cause error) {
	s.postpone(h.drive)
	s.drop(h, cause)
}

// drop takes h out of the set.
func (s *Set) drop(h *host, cause error) {
	s.log.Warn("metadata replica failed", "dir", h.drive.Dir, "error", cause)
	s.mu.Lock()
	delete(s.hosts, h.ID)
	s.mu.Unlock()
	s.lead()
	if err := h.close(); err != nil {
		s.log.Info("closing the failed metadata replica", "dir", h.drive.Dir, "error", err)
	}
	s.poke()
}

// SetWant changes how many voters every group is to have.
func (s *Set) SetWant(want int) {
	s.want.Store(int64(want))
	s.poke()
}

// AddDrive offers a drive that came or came back.
func (s *Set) AddDrive(d Drive) {
	s.mu.Lock()
	s.drives = append(slices.DeleteFunc(s.drives, func(o Drive) bool { return o.Dir == d.Dir || o.ID == d.ID }), d)
	delete(s.retry, d)
	s.mu.Unlock()
	s.poke()
}

// RemoveDrive stops the host on the drive, if there is one: the drive is gone.
func (s *Set) RemoveDrive(d Drive) {
	s.mu.Lock()
	s.drives = slices.DeleteFunc(s.drives, func(o Drive) bool { return o == d })
	h := s.hostOn(d)
	s.mu.Unlock()
	if h != nil {
		s.drop(h, errors.New("the drive is gone"))
	}
}

func (s *Set) allDrives() []Drive {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.drives)
}

// hostOn returns the running host of d, or nil. The caller holds mu.
func (s *Set) hostOn(d Drive) *host {
	for _, h := range s.hosts {
		if h.drive == d {
			return h
		}
	}
	return nil
}

// running hosts, in the order of their ids.
func (s *Set) alive() []*host {
	s.mu.RLock()
	defer s.mu.RUnlock()
	hosts := make([]*host, 0, len(s.hosts))
	for _, h := range s.hosts {
		hosts = append(hosts, h)
	}
	slices.SortFunc(hosts, func(a, b *host) int { return int(min(max(int64(a.ID-b.ID), -1), 1)) })
	return hosts
}

func (s *Set) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close stops every host; what they acknowledged is durable.
func (s *Set) Close() error {
	s.stop()
	s.running.Wait()
	var errs []error
	for _, h := range s.alive() {
		errs = append(errs, h.close())
	}
	return errors.Join(errs...)
}
