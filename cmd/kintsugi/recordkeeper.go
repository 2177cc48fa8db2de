package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"kintsugi/meta/membership"
)

// recordKeeper keeps the cluster record in all drives of a process.
type recordKeeper struct {
	log  *slog.Logger
	dirs []string

	mu     sync.Mutex // guards record
	record clusterRecord
}

func newRecordKeeper(dirs []string, log *slog.Logger) (*recordKeeper, error) {
	record, err := readClusterRecord(dirs)
	return &recordKeeper{log: log, dirs: dirs, record: record}, err
}

func (k *recordKeeper) get() clusterRecord {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.record
}

// update changes the record and writes it to every directory. One copy must be durable, else it fails.
func (k *recordKeeper) update(change func(*clusterRecord)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.record
	change(&next)
	var worst error
	written := 0
	for _, dir := range k.dirs {
		err := next.write(dir)
		if err == nil {
			written++
		} else if worst = err; !os.IsNotExist(err) {
			k.log.Warn("what is known of the cluster cannot be kept", "dir", dir, "error", err)
		}
	}
	if written == 0 && len(k.dirs) > 0 {
		return worst
	}
	k.record = next
	return nil
}

// keep writes what is known into the directory of a drive that came.
func (k *recordKeeper) keep(dir string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.record.Founding == nil {
		return
	}
	if err := k.record.write(dir); err != nil {
		k.log.Warn("what is known of the cluster cannot be kept", "dir", dir, "error", err)
	}
}

// reserve makes sure that this process has an id for a metadata replica before anybody hears of it.
func (k *recordKeeper) reserve(newID func() uint64) (uint64, error) {
	if host := k.get().Host; host != 0 {
		return host, nil
	}
	if err := k.makeDirs(); err != nil {
		return 0, err
	}
	host := newID()
	return host, k.update(func(r *clusterRecord) { r.Host = host })
}

// makeDirs makes the directories of a node that starts for the first time.
func (k *recordKeeper) makeDirs() error {
	for _, dir := range k.dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// found keeps what the cluster was founded with.
func (k *recordKeeper) found(f membership.Founding) error {
	keep := func(r *clusterRecord) { r.Founding = &f }
	err := k.update(keep)
	if errors.Is(err, fs.ErrNotExist) {
		if err = k.makeDirs(); err == nil {
			err = k.update(keep)
		}
	}
	return err
}

// peers keeps where other nodes were, for the next start.
func (k *recordKeeper) peers(nodes []membership.Node) {
	if err := k.update(func(r *clusterRecord) { r.Peers = nodes }); err != nil {
		k.log.Warn("where the other nodes are cannot be kept", "error", err)
	}
}

// born notes that the replica of the reserved id exists: from now on its own record counts.
func (k *recordKeeper) born() error {
	return k.update(func(r *clusterRecord) { r.Host = 0 })
}
