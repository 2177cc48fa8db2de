package raftgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"go.etcd.io/raft/v3/raftpb"

	"kintsugi/internal/directio"
)

// The state that a peer streams goes into a file beside the log first. A stream that breaks or is slow then costs neither
// the old state nor anybody's time, and a crash while the machine restores it only means to begin again: without the file, a
// replica whose source dies would be lost with it.

// spoolSuffix marks a file that is not complete.
const spoolSuffix = ".tmp"

func spoolPath(dir string, group uint32) string {
	return filepath.Join(dir, fmt.Sprintf("snapshot-%04x", group))
}

// fetch streams the state that m offers into a file, unless what is here is as new, and returns its position.
func (h *Host) fetch(ctx context.Context, g *group, m *raftpb.Message) (at Position, err error) {
	s, err := h.cfg.Transport.OpenSnapshot(ctx, h.cfg.ID, m.GetFrom(), g.id)
	if err != nil {
		return Position{}, fmt.Errorf("open snapshot: %w", err)
	}
	defer s.Close()
	at = s.Position()
	if offered := m.GetSnapshot().GetMetadata().GetIndex(); at.Index < offered {
		return at, fmt.Errorf("snapshot at %d, offered at %d", at.Index, offered)
	}
	if at.Index <= g.applied.Load() {
		return at, nil
	}
	if err := spool(h.cfg.Dir, g.id, at, s); err != nil {
		return at, fmt.Errorf("fetch snapshot: %w", err)
	}
	return at, nil
}

// spool makes a file of the state at a position.
func spool(dir string, group uint32, at Position, r io.Reader) (err error) {
	path := spoolPath(dir, group)
	f, err := os.OpenFile(path+spoolSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(f.Name())
			return
		}
		if err = os.Rename(f.Name(), path); err == nil {
			err = directio.SyncDir(dir)
		}
	}()
	head, err := encodeSpoolHead(group, at)
	if err != nil {
		return err
	}
	if _, err := f.Write(head); err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	return directio.Datasync(f)
}

// unspool has the machine restore the state in a group's file, durably, and removes the file. What is not after an index is left.
func (h *Host) unspool(group uint32, after uint64) (at Position, err error) {
	defer h.dropSpool(group)
	f, err := os.Open(spoolPath(h.cfg.Dir, group))
	if err != nil {
		return Position{}, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 256<<10)
	if at, err = decodeSpoolHead(group, r); err != nil {
		return Position{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if at.Index <= after {
		return at, nil
	}
	if err := h.cfg.Machine.Restore(group, at, r); err != nil {
		return at, fmt.Errorf("restore snapshot: %w", err)
	}
	if err := h.cfg.Machine.Sync(); err != nil {
		return at, fmt.Errorf("sync state: %w", err)
	}
	return at, nil
}

func (h *Host) dropSpool(group uint32) {
	for _, suffix := range []string{"", spoolSuffix} {
		err := os.Remove(spoolPath(h.cfg.Dir, group) + suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			h.cfg.Logger.Warn("a snapshot file stays behind", slog.Int("group", int(group)), slog.Any("error", err))
		}
	}
}

// resumeRestore ends a restore that a crash interrupted: the state of the group is gone then, and its file is there.
func (h *Host) resumeRestore(g *group) error {
	at, err := h.cfg.Machine.Applied(g.id)
	if err != nil {
		return fmt.Errorf("state of group %d: %w", g.id, err)
	}
	if at.Index > 0 {
		h.dropSpool(g.id)
		return nil
	}
	if _, err = h.unspool(g.id, 0); err != nil && !errors.Is(err, fs.ErrNotExist) { // whether it is missed recover tells
		h.cfg.Logger.Warn("interrupted restore cannot go on", slog.Int("group", int(g.id)), slog.Any("error", err))
	}
	return nil
}
