package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/internal/directio"
	"kintsugi/internal/drive"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state"
	"kintsugi/placement"
)

// Drive is a directory that may have a host.
type Drive struct {
	ID  placement.DriveID
	Dir string
}

// host is the replica of every group on one drive.
type host struct {
	record
	drive   Drive
	raft    *raftgroup.Host
	machine *state.Machine
	roomy   atomic.Bool // the drive had room when last looked at
}

const (
	// ballastBytes are set aside on every drive, so that deletes still go through when it is full.
	ballastBytes = 16 << 20
	// scrubBytesPerSecond bounds how fast the state is read in search of damage.
	scrubBytesPerSecond = 4 << 20
	scrubInterval       = 24 * time.Hour
)

// settings are what the hosts of a process have in common.
type settings struct {
	groups        int
	transport     raftgroup.Transport
	electionTicks int // 0: raftgroup's default
	log           *slog.Logger
	registerer    prometheus.Registerer // of this host; nil: none
}

// open starts the host whose record is on d. With cutTail it drops a last batch
// of the log that may be torn: raftgroup.ErrDoubtfulTail tells when that is a question.
func (c settings) open(d Drive, r record, cutTail bool) (*host, error) {
	log := c.log.With("dir", d.Dir)
	machine, err := state.Open(filepath.Join(d.Dir, metaDir, stateDir), state.Config{
		Groups: c.groups, BallastBytes: ballastBytes, Logger: log, Registerer: c.registerer,
	})
	if err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", d.Dir, err)
	}
	raft, err := raftgroup.Open(raftgroup.Config{
		ID:            r.ID,
		Dir:           filepath.Join(d.Dir, metaDir, logDir),
		Groups:        c.groups,
		Machine:       machine,
		Transport:     c.transport,
		Bootstrap:     r.Voters,
		ElectionTicks: c.electionTicks,
		Logger:        log,

		CutDoubtfulTail: cutTail,
		Registerer:      c.registerer,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("metadata log of %s: %w", d.Dir, err), machine.Close())
	}
	h := &host{record: r, drive: d, raft: raft, machine: machine}
	h.roomy.Store(true)
	return h, nil
}

func (s *Set) openHost(d Drive, r record, cutTail bool) (*host, error) {
	c := settings{groups: s.cfg.Groups, transport: s.transport, log: s.log, registerer: s.cfg.Registerer(d.ID)}
	return c.open(d, r, cutTail)
}

// newHost makes a new host on d, in place of whatever metadata d had.
func (s *Set) newHost(d Drive, r record) (*host, error) {
	if err := makeHostDir(d.Dir, r); err != nil {
		return nil, err
	}
	return s.openHost(d, r, false)
}

func makeHostDir(dir string, r record) error {
	path := filepath.Join(dir, metaDir)
	if _, err := os.Stat(dir); err != nil {
		return err // the drive is gone: do not make it anew
	}
	if err := removeRecord(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := directio.SyncDir(dir); err != nil {
		return err
	}
	return r.write(dir)
}

// scrub reads state and log of h from time to time: damage must be found while the others are whole. What
// it finds fails the machine, or the log if that is still needed.
func (h *host) scrub(ctx context.Context, log *slog.Logger) {
	ticker := time.NewTicker(scrubInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.machine.Failed():
			return
		case <-h.raft.Failed():
			return
		case <-ticker.C:
			err := errors.Join(h.machine.Scrub(ctx, scrubBytesPerSecond), h.raft.Scrub(ctx, scrubBytesPerSecond))
			if err != nil && ctx.Err() == nil {
				log.Warn("metadata scrub found damage or ended early", "dir", h.drive.Dir, "error", err)
			}
		}
	}
}

// watch waits for the end of h and tells the set when h failed.
func (s *Set) watch(ctx context.Context, h *host) {
	select {
	case <-h.raft.Failed():
		s.hostFailed(h, h.raft.Err())
	case <-h.machine.Failed():
		s.hostFailed(h, h.machine.Err())
	case <-ctx.Done():
	}
}

// callHost bounds a question to a host's loop, which may be waiting for its drive.
const callHost = 2 * time.Second

func (h *host) call(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), callHost)
	defer cancel()
	return f(ctx)
}

// status is zero if the host does not answer.
func (h *host) status(group uint32) (st raftgroup.Status) {
	_ = h.call(func(ctx context.Context) (err error) {
		st, err = h.raft.Status(ctx, group)
		return err
	})
	return st
}

// statuses asks for all groups at the same time: a host whose drive is slow answers once for all.
func (h *host) statuses(groups int) []raftgroup.Status {
	all := make([]raftgroup.Status, groups)
	var asking sync.WaitGroup
	for g := range all {
		asking.Go(func() { all[g] = h.status(uint32(g)) })
	}
	asking.Wait()
	return all
}

func (h *host) close() error {
	return errors.Join(h.raft.Close(), h.machine.Close())
}

// isThere tells whether the directory at path still is the drive d.
func (d Drive) isThere() bool {
	at, id, err := drive.Probe(d.Dir)
	return err == nil && at == drive.Member && placement.DriveID(id.Drive) == d.ID
}
