package replica

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"kintsugi/meta/raftgroup"
)

// spooled is a transport that fetches a whole snapshot before it shows any of it: a restore gives the old state up, and
// a peer that dies half way must not cost the replica that.
//
// It hides what else a transport may offer: in a cluster nobody looks at the terms of others.
type spooled struct {
	raftgroup.Transport
	dir string // of the drive
}

// OpenSnapshot implements raftgroup.Transport.
func (s spooled) OpenSnapshot(ctx context.Context, from, to uint64, group uint32) (raftgroup.SnapshotReader, error) {
	r, err := s.Transport.OpenSnapshot(ctx, from, to, group)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := os.CreateTemp(filepath.Join(s.dir, metaDir), "incoming-*")
	if err != nil {
		return nil, err
	}
	if err := fillSpool(f, r); err != nil {
		f.Close()
		return nil, fmt.Errorf("fetch snapshot of group %d: %w", group, err)
	}
	return &spool{File: f, at: r.Position()}, nil
}

// fillSpool copies a snapshot to a file without a name and goes to its start.
func fillSpool(f *os.File, r io.Reader) error {
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// spool is a snapshot that is here.
type spool struct {
	*os.File
	at raftgroup.Position
}

// Position implements raftgroup.SnapshotReader.
func (s *spool) Position() raftgroup.Position { return s.at }
