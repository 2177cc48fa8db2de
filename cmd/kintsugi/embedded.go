package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/gateway"
	"kintsugi/gateway/blob"
	"kintsugi/internal/drive"
	"kintsugi/meta"
	"kintsugi/meta/replica"
	"kintsugi/placement"
)

// embedded is the whole store in one process: drives, metadata replicas,
// reconcilers and the S3 front, which reach each other without a socket.
type embedded struct {
	cfg     serverConfig
	log     *slog.Logger
	metrics *prometheus.Registry
	view    *view
	opened  atomic.Bool // all of the following is there

	shelf    *shelf
	replicas *replica.Set
	meta     *meta.Client
	blobs    *blob.Store
	front    *gateway.Server
	repair   *repair

	credentials    credentials
	credentialsNew bool // made at this start: the only time that the secret is shown

	// Owned by the monitor, which alone changes the map:
	goneSince  map[placement.DriveID]time.Time
	homesSince uint64 // epoch of the last change of homes, as far as this process knows
}

// metaTimeout bounds a metadata call of the server's own.
const metaTimeout = 20 * time.Second

const (
	mapTimeout = 2 * time.Second // of one attempt to read the map
	tellEvery  = 15              // attempts
)

func newEmbedded(cfg serverConfig, log *slog.Logger) *embedded {
	e := &embedded{
		cfg: cfg, log: log, metrics: newMetrics(), view: newView(),
		goneSince: map[placement.DriveID]time.Time{},
	}
	e.shelf = newShelf(cfg.dirs, true, e.view, e, log, e.metrics)
	return e
}

// open opens, or bears, the cluster of the configured directories. It
// touches none of them if one must not be opened.
func (e *embedded) open(ctx context.Context) error {
	found := probeAll(e.cfg.dirs)
	cluster, fresh, err := judge(found)
	if err != nil {
		return err
	}
	if err := refuseNodeDrives(e.cfg.dirs); err != nil {
		return err
	}
	if fresh {
		err = e.birth(ctx)
	} else {
		err = e.resume(ctx, cluster, found)
	}
	if err == nil {
		err = e.startFront()
	}
	if err != nil {
		e.closeParts()
		return err
	}
	e.opened.Store(true)
	return nil
}

// refuseNodeDrives keeps a store in one process off the drives of a cluster's node: alone it would give up the
// drives of all others, and go on with metadata that they go on with, too.
func refuseNodeDrives(dirs []string) error {
	record, err := readClusterRecord(dirs)
	if err != nil {
		return err
	}
	if f := record.Founding; f != nil {
		return fmt.Errorf("%s: the drives belong to a node of cluster %s: start it with --join, as before", strings.Join(dirs, ", "), f.Cluster)
	}
	return nil
}

// resume starts the drives that are there; the monitor waits for the others.
func (e *embedded) resume(ctx context.Context, cluster drive.ID, found []probed) error {
	failed := e.shelf.openFound(found)
	for _, err := range failed {
		if errors.Is(err, drive.ErrInUse) {
			return err
		}
	}
	var drives []replica.Drive
	var groups int
	for _, b := range e.shelf.openBays() {
		drives = append(drives, b.replicaDrive())
		groups = b.id.Groups
	}
	if len(drives) == 0 {
		return fmt.Errorf("none of the %d drives can be opened: %w", len(found), errors.Join(failed...))
	}
	var err error
	if e.replicas, err = replica.Open(e.replicaConfig(groups, 0), drives); err != nil {
		return err
	}
	e.startMeta()
	if err := e.loadMap(ctx, cluster); err != nil {
		return err
	}
	return e.findCredentials()
}

// loadMap waits for the metadata: more than m drives may be missing, and come.
func (e *embedded) loadMap(ctx context.Context, cluster drive.ID) error {
	for tries := 0; ; tries++ {
		m, err := e.tryLoadMap(ctx)
		if err == nil && m.Cluster != placement.ClusterID(cluster) {
			return fmt.Errorf("the metadata is of cluster %s, the drives are of %s", m.Cluster, placement.ClusterID(cluster))
		}
		if err == nil {
			e.view.setMap(m)
			e.replicas.SetWant(e.wantReplicas(m))
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if tries%tellEvery == 0 {
			e.log.Error("waiting for the metadata: give lost drives back, or start with all directories", "error", err)
		}
		e.shelf.watch()
	}
}

func (e *embedded) tryLoadMap(ctx context.Context) (*placement.Map, error) {
	ctx, cancel := context.WithTimeout(ctx, mapTimeout)
	defer cancel()
	return e.meta.ClusterMap(ctx)
}

// findCredentials reads what the first start kept, and mends lost copies.
func (e *embedded) findCredentials() error {
	if e.cfg.credentials != nil {
		e.credentials = *e.cfg.credentials
		return nil
	}
	open := dirsOf(e.shelf.openBays())
	found, err := loadCredentials(open)
	switch {
	case errors.Is(err, fs.ErrNotExist): // so far they came from the environment
		found, e.credentialsNew = newCredentials(), true
	case err != nil:
		return fmt.Errorf("%w: set KINTSUGI_ROOT_ACCESS_KEY and KINTSUGI_ROOT_SECRET_KEY", err)
	}
	e.credentials = found
	for _, dir := range open {
		e.keepCredentials(dir)
	}
	return nil
}

// keepCredentials makes sure that the drive at dir has them.
func (e *embedded) keepCredentials(dir string) {
	if e.cfg.credentials != nil {
		return
	}
	if _, err := loadCredentials([]string{dir}); err == nil {
		return
	}
	if err := e.credentials.save(dir); err != nil {
		e.log.Warn("credentials cannot be kept", "dir", dir, "error", err)
	}
}

func (e *embedded) replicaConfig(groups, want int) replica.Config {
	return replica.Config{Groups: groups, Want: want, Logger: e.log, Registerer: e.driveMetrics}
}

// startMeta makes the metadata client of the replicas.
func (e *embedded) startMeta() { e.meta = meta.NewClient(e.replicas) }

// driveMetrics registers what drives count, told apart by their id, as shard stores are.
func (e *embedded) driveMetrics(id placement.DriveID) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"drive": id.String()}, e.metrics)
}

// startFront makes the data path and the S3 front on top of it.
func (e *embedded) startFront() (err error) {
	e.repair, err = newRepair(repairConfig{
		view: e.view, live: e.meta, settle: localSettle, log: e.log, metrics: e.metrics,
		busy: func() bool { return e.opened.Load() && e.front.Busy() },
	})
	if err != nil {
		return err
	}
	for _, b := range e.shelf.openBays() {
		e.repair.start(b)
	}
	e.blobs, err = blob.New(blob.Config{Hint: e.repair.hint, Logger: e.log, Registerer: e.metrics}, e.view)
	if err != nil {
		return err
	}
	e.front, err = gateway.New(gateway.Config{
		Meta: e.meta, Blobs: e.blobs, Keys: e.credentials,
		Region: e.cfg.region, Domains: e.cfg.domains,
		Logger: e.log, Registerer: e.metrics,
	})
	return err
}

// close ends everything in the order of dependence.
func (e *embedded) close() error {
	e.opened.Store(false)
	var errs []error
	if e.repair != nil {
		e.repair.stopAll()
	}
	if e.blobs != nil {
		errs = append(errs, e.blobs.Close())
	}
	if e.replicas != nil {
		errs = append(errs, e.replicas.Close())
	}
	return errors.Join(append(errs, e.shelf.close())...)
}

// closeParts ends what a failed start began.
func (e *embedded) closeParts() {
	if err := e.close(); err != nil {
		e.log.Warn("closing after a failed start", "error", err)
	}
	e.replicas, e.blobs, e.repair = nil, nil, nil
}

// cluster implements keeper.
func (e *embedded) cluster() (placement.ClusterID, bool) {
	m := e.view.Map()
	if m == nil {
		return placement.ClusterID{}, false
	}
	return m.Cluster, true
}

// newIdentity implements keeper. While the metadata is not there, there is nothing to join.
func (e *embedded) newIdentity() (drive.Identity, bool) {
	m := e.view.Map()
	if m == nil {
		return drive.Identity{}, false
	}
	return drive.Identity{Cluster: drive.ID(m.Cluster), Partitions: m.Partitions, Groups: e.replicas.Groups()}, true
}

// admitted implements keeper: metadata and repair may use the drive.
func (e *embedded) admitted(b *bay) {
	if b.fresh {
		e.keepCredentials(b.dir)
	}
	e.replicas.AddDrive(b.replicaDrive())
	if e.repair != nil {
		e.repair.start(b)
	}
}

// lost implements keeper.
func (e *embedded) lost(b *bay) {
	e.replicas.RemoveDrive(b.replicaDrive())
	if e.repair != nil {
		e.repair.stopDrive(b.driveID())
	}
}
