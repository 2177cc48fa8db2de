package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

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
}

const (
	// ballastBytes are set aside on every drive, so that deletes still go through when it is full.
	ballastBytes = 16 << 20
	// scrubBytesPerSecond bounds how fast the state is read in search of damage.
	scrubBytesPerSecond = 4 << 20
	scrubInterval       = 24 * time.Hour
)

// openHost starts the host whose record is on d. With cutTail it drops a last batch
// of the log that may be torn: raftgroup.ErrDoubtfulTail tells when that is a question.
func (s *Set) openHost(d Drive, r record, cutTail bool) (*host, error) {
	machine, err := state.Open(filepath.Join(d.Dir, metaDir, stateDir), state.Config{
		Groups: s.cfg.Groups, BallastBytes: ballastBytes,
		Logger: s.log.With("dir", d.Dir), Registerer: s.cfg.Registerer(d.ID),
	})
	if err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", d.Dir, err)
	}
	raft, err := raftgroup.Open(raftgroup.Config{
		ID:        r.ID,
		Dir:       filepath.Join(d.Dir, metaDir, logDir),
		Groups:    s.cfg.Groups,
		Machine:   machine,
		Transport: s.transport,
		Bootstrap: r.Voters,
		Logger:    s.log.With("dir", d.Dir),

		CutDoubtfulTail: cutTail,
		Registerer:      s.cfg.Registerer(d.ID),
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("metadata log of %s: %w", d.Dir, err), machine.Close())
	}
	return &host{record: r, drive: d, raft: raft, machine: machine}, nil
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

// scrub reads the state of h from time to time: damage must be found while the others are whole. What
// it finds fails the machine.
func (s *Set) scrub(ctx context.Context, h *host) {
	ticker := time.NewTicker(scrubInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.machine.Failed():
			return
		case <-ticker.C:
			if err := h.machine.Scrub(ctx, scrubBytesPerSecond); err != nil && ctx.Err() == nil {
				s.log.Warn("metadata scrub ended early", "dir", h.drive.Dir, "error", err)
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

func (h *host) close() error {
	return errors.Join(h.raft.Close(), h.machine.Close())
}

// isThere tells whether the directory at path still is the drive d.
func (d Drive) isThere() bool {
	at, id, err := drive.Probe(d.Dir)
	return err == nil && at == drive.Member && placement.DriveID(id.Drive) == d.ID
}
