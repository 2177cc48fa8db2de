package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"kintsugi/erasure"
	"kintsugi/internal/directio"
	"kintsugi/internal/drive"
	"kintsugi/meta/replica"
	"kintsugi/placement"
)

const (
	birthGroups     = 8        // metadata groups, fixed at birth
	birthPartitions = 1024     // of the ring, fixed at birth
	manyPartitions  = 4096     // above manyDrives
	manyDrives      = 64       //
	minFreeBytes    = 64 << 20 // of a drive that is to be filled
)

// birth makes a new cluster of empty directories. What it makes is marked, so
// that after a crash within it the next start begins again.
func (e *embedded) birth(ctx context.Context) error {
	code := e.cfg.code
	if code == (erasure.Params{}) {
		code = erasure.Default(len(e.shelf.bays))
	}
	if err := code.Validate(); err != nil {
		return fmt.Errorf("--ec: %w", err)
	}
	if n := code.K + code.M; n > len(e.shelf.bays) {
		return fmt.Errorf("--ec %s needs %d drives, %d are named: name more directories", code, n, len(e.shelf.bays))
	}
	begun, err := e.beginBirth()
	if err == nil {
		err = e.bear(ctx, code)
	}
	if err != nil {
		e.closeParts()
		for _, undo := range begun {
			undo()
		}
	}
	return err
}

// beginBirth marks every directory. It returns what takes that back.
func (e *embedded) beginBirth() (undo []func(), err error) {
	id := drive.Identity{Created: time.Now().UTC().Truncate(time.Second), Partitions: birthPartitions, Groups: birthGroups}
	if len(e.shelf.bays) > manyDrives {
		id.Partitions = manyPartitions
	}
	rand.Read(id.Cluster[:]) // never fails
	for _, b := range e.shelf.bays {
		rand.Read(id.Drive[:])
		_, statErr := os.Stat(b.dir)
		if err := os.MkdirAll(b.dir, 0o700); err != nil {
			return undo, fmt.Errorf("drive %s: %w", b.dir, err)
		}
		undo = append(undo, func() {
			_ = drive.Undo(b.dir) // best effort: the mark stays and the next start undoes it
			if statErr != nil {
				_ = drive.Forget(b.dir)
			}
		})
		if err := prepare(b, id); err != nil {
			return undo, err
		}
	}
	return undo, nil
}

// prepare makes an empty directory, or what an interrupted birth left, ready for the drive id.
func prepare(b *bay, id drive.Identity) error {
	lock, err := drive.Lock(b.dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := drive.Undo(b.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("drive %s: %w", b.dir, err)
	}
	if err := drive.Begin(b.dir, id); err != nil {
		return err
	}
	space, err := directio.SpaceAt(b.dir)
	if err != nil {
		return fmt.Errorf("drive %s: %w", b.dir, err)
	}
	if space.Free < minFreeBytes {
		return fmt.Errorf("drive %s: %d MiB are free, %d are needed: make room or name another directory",
			b.dir, space.Free>>20, minFreeBytes>>20)
	}
	b.id = id
	return nil
}

// bear starts the parts on the marked directories and, when the cluster map is
// committed, makes them drives.
func (e *embedded) bear(ctx context.Context, code erasure.Params) error {
	var members []placement.Drive
	var drives []replica.Drive
	for _, b := range e.shelf.bays {
		if err := e.shelf.open(b, b.id); err != nil {
			return err
		}
		members = append(members, placement.Drive{ID: b.driveID(), Node: localNode, Weight: defaultWeight})
		drives = append(drives, b.replicaDrive())
	}
	first := e.shelf.bays[0].id
	m, err := placement.Birth(placement.ClusterID(first.Cluster), first.Partitions, code.K, code.M, members)
	if err != nil {
		return err
	}
	if e.replicas, err = replica.Birth(e.replicaConfig(first.Groups, e.wantReplicas(m)), drives); err != nil {
		return err
	}
	e.startMeta()
	ctx, cancel := context.WithTimeout(ctx, metaTimeout)
	defer cancel()
	if err := e.meta.SetClusterMap(ctx, m); err != nil {
		return fmt.Errorf("the first cluster map: %w", err)
	}
	e.view.setMap(m)
	if err := e.makeCredentials(); err != nil {
		return err
	}
	for _, b := range e.shelf.bays {
		if err := drive.Commit(b.dir, b.id); err != nil {
			return err
		}
	}
	return nil
}

// makeCredentials takes those of the environment, or makes some and keeps them in every drive.
func (e *embedded) makeCredentials() error {
	if e.cfg.credentials != nil {
		e.credentials = *e.cfg.credentials
		return nil
	}
	e.credentials, e.credentialsNew = newCredentials(), true
	for _, b := range e.shelf.bays {
		if err := e.credentials.save(b.dir); err != nil {
			return fmt.Errorf("drive %s: %w", b.dir, err)
		}
	}
	return nil
}

// wantReplicas is the number of voters that survive what the data survives, unless the operator chose it.
func (e *embedded) wantReplicas(m *placement.Map) int {
	if e.cfg.replicas > 0 {
		return e.cfg.replicas
	}
	return 2*m.M + 1
}
