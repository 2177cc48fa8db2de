package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/raft/v3/raftpb"

	"kintsugi/internal/pace"
	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state/lsm"
)

// Errors are matched with errors.Is.
var (
	ErrDamaged  = errors.New("metadata state damaged") // build it anew from the peers
	ErrVanished = errors.New("metadata state vanished")
	ErrClosed   = errors.New("metadata state closed")
	// ErrIncomplete says that a group has no state here: none came yet, or it is being restored.
	ErrIncomplete = errors.New("metadata state incomplete")
)

// Config is the settings of a Machine. The zero value is usable.
type Config struct {
	Groups       int                   // number of groups, 0: any; the state of a group beyond is damage
	MemtableSize int64                 // bytes of writes kept in memory before they become a table; 0: 4 MiB
	ReserveBytes int64                 // free space of the drive under which Admit refuses commands that add data; 0: 64 MiB
	BallastBytes int64                 // size of a file that is given up when the drive is full; 0: none
	Logger       *slog.Logger          // nil: discard
	Registerer   prometheus.Registerer // nil: no metrics; released by Close
}

const (
	// DefaultReserveBytes is the free space of a drive below which it takes no more commands that add data.
	DefaultReserveBytes = 64 << 20
	watchInterval       = 500 * time.Millisecond
)

// Machine is the state of all groups of one drive.
type Machine struct {
	dir    string
	config Config
	db     *lsm.DB
	codec  meta.Codec

	metrics *collector // nil: none

	mu        sync.Mutex // guards what follows
	positions map[uint16]raftgroup.Position
	digests   map[uint16]*digest // the newest of each group
	err       error
	closed    bool

	// Only the goroutine that calls Apply and Restore uses these. They mirror records.
	buckets  map[uint16]map[string]meta.Bucket
	requests map[uint16]*requests

	digestPace pace.Pace // of all digests together

	failed chan struct{}
	stop   chan struct{}
	done   sync.WaitGroup
}

var _ raftgroup.Machine = (*Machine)(nil)

// Open opens the state in dir, which it makes if need be. ErrDamaged says that it cannot be trusted.
func Open(dir string, config Config) (*Machine, error) {
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	if config.ReserveBytes <= 0 {
		config.ReserveBytes = DefaultReserveBytes
	}
	db, err := lsm.Open(dir, lsm.Options{
		MemtableSize: config.MemtableSize, BallastBytes: config.BallastBytes, Logger: config.Logger,
	})
	if err != nil {
		return nil, damaged(err)
	}
	m := &Machine{
		dir: dir, config: config, db: db, codec: meta.NewCodec(),
		positions: make(map[uint16]raftgroup.Position), digests: make(map[uint16]*digest),
		buckets: make(map[uint16]map[string]meta.Bucket), requests: make(map[uint16]*requests),
		failed: make(chan struct{}), stop: make(chan struct{}),
	}
	m.digestPace.PerSecond = digestBytesPerSecond
	if err := m.begin(); err != nil {
		return nil, errors.Join(damaged(err), db.Close())
	}
	if config.Registerer != nil {
		m.metrics = newCollector(db)
		if err := config.Registerer.Register(m.metrics); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	m.done.Go(m.watchDrive)
	return m, nil
}

// damaged makes the store's and the records' corruption one error.
func damaged(err error) error {
	if errors.Is(err, lsm.ErrCorrupt) || errors.Is(err, meta.ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// begin checks the format and reads the positions.
func (m *Machine) begin() error {
	txn := m.db.Begin()
	defer txn.Release()
	x := tx{reader: reader{store: txn, group: machineGroup, codec: m.codec}, txn: txn, machine: m}
	version, err := x.number(keyOf(machineGroup, kindFormat, 0))
	if err != nil {
		return err
	}
	switch version {
	case formatVersion:
	case 0:
		if ok, err := x.any([]byte{}); ok || err != nil {
			return errors.Join(err, fmt.Errorf("no format version: %w", meta.ErrCorrupt))
		}
		x.setNumber(keyOf(machineGroup, kindFormat, 0), formatVersion)
		if err := m.db.Commit(txn); err != nil {
			return err
		}
		if err := m.db.Flush(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("metadata state has format %d, this program knows %d", version, formatVersion)
	}
	return x.scan(keyOf(machineGroup, kindPosition, 0), nil, func(key, content []byte) (bool, error) {
		var p position
		if err := x.unmarshal(content, &p); err != nil {
			return false, err
		}
		group := groupOfSlot(key)
		if m.config.Groups > 0 && int(group) >= m.config.Groups {
			return false, fmt.Errorf("group %d of %d: %w", group, m.config.Groups, meta.ErrCorrupt)
		}
		m.positions[group] = p.raft()
		return true, nil
	})
}

// Applied returns up to where group was executed.
func (m *Machine) Applied(group uint32) (raftgroup.Position, error) {
	if err := m.Err(); err != nil {
		return raftgroup.Position{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.positions[uint16(group)], nil
}

// Groups returns the groups that have a position, in order.
func (m *Machine) Groups() []uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var groups []uint32
	for _, g := range slices.Sorted(maps.Keys(m.positions)) {
		groups = append(groups, uint32(g))
	}
	return groups
}

// Sync makes all that was applied durable.
func (m *Machine) Sync() error {
	if err := m.Err(); err != nil {
		return err
	}
	return m.fail(m.db.Flush())
}

// Scrub reads all that is on the drive, at most bytesPerSecond (0: no limit); damage fails the machine.
func (m *Machine) Scrub(ctx context.Context, bytesPerSecond int64) error {
	if err := m.Err(); err != nil {
		return err
	}
	view := m.db.View()
	defer view.Release()
	if err := view.Verify(ctx, bytesPerSecond); err != nil && ctx.Err() == nil {
		return m.fail(err)
	}
	return ctx.Err()
}

// fail makes the machine refuse everything from now on, if err is not nil, and returns err.
func (m *Machine) fail(err error) error {
	if err == nil {
		return nil
	}
	err = damaged(err)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil && !m.closed {
		m.err = err
		close(m.failed)
		m.db.Fail(err)
	}
	return err
}

// recovered turns a panic of the calling function's callees into a failure.
func (m *Machine) recovered(err *error) {
	if r := recover(); r != nil {
		m.config.Logger.Error("metadata state panicked", slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
		*err = m.fail(fmt.Errorf("%w: panic: %v", ErrDamaged, r))
	}
}

// Failed is closed when the state cannot be used any more.
func (m *Machine) Failed() <-chan struct{} { return m.failed }

// Err tells why.
func (m *Machine) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil && m.closed {
		return ErrClosed
	}
	return m.err
}

// Close ends the background work. It does not make durable what Sync did not.
func (m *Machine) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	for _, d := range m.digests {
		d.cancel()
	}
	m.mu.Unlock()
	if m.metrics != nil {
		m.config.Registerer.Unregister(m.metrics)
	}
	close(m.stop)
	m.done.Wait()
	return m.db.Close()
}

func newPosition(p raftgroup.Position) position {
	return position{
		Index: p.Index, Term: p.Term, Known: p.Members != nil,
		Voters: p.Members.GetVoters(), Learners: p.Members.GetLearners(),
		VotersOutgoing: p.Members.GetVotersOutgoing(), LearnersNext: p.Members.GetLearnersNext(),
		AutoLeave: p.Members.GetAutoLeave(),
	}
}

func (p position) raft() raftgroup.Position {
	at := raftgroup.Position{Index: p.Index, Term: p.Term}
	if p.Known {
		at.Members = &raftpb.ConfState{
			Voters: p.Voters, Learners: p.Learners, VotersOutgoing: p.VotersOutgoing,
			LearnersNext: p.LearnersNext, AutoLeave: &p.AutoLeave,
		}
	}
	return at
}
