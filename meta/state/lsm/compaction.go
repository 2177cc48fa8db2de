package lsm

import (
	"errors"
	"log/slog"
	"math"
	"math/bits"
	"slices"
	"syscall"
	"time"
)

// Tables are of tiers: tier 0 has up to the size of a memtable, each further tier four
// times that. Four neighbours (by age) of which none is of a higher tier than the newest are merged into one. So data is
// rewritten once per tier, and a key is looked for in at most about four tables per tier, most of which their filters exclude.
const (
	mergeWidth   = 4
	paceBytes    = 512 << 10             // written by a merge between two pauses
	maxPause     = 20 * time.Millisecond // of a merge
	urgentTables = 24                    // from so many on merges do not pause
	roomInterval = time.Second           // between attempts to write to a full drive
)

// flushLoop writes memtables to tables, the oldest first.
func (db *DB) flushLoop() {
	for {
		list := db.awaitFull()
		if list == nil {
			return
		}
		t, err := db.writeTable([]cursor{&listCursor{list: list, sequence: math.MaxUint64}}, false)
		if err == nil {
			err = db.replace(list, nil, t)
		}
		if errors.Is(err, syscall.ENOSPC) && db.awaitRoom() {
			continue
		}
		if err != nil {
			db.Fail(err)
			return
		}
	}
}

// awaitRoom waits before a full drive is tried again; reads go on meanwhile, and commits as long as
// memtables take them. It is false when the database ends.
func (db *DB) awaitRoom() bool {
	db.options.Logger.Warn("metadata drive is full", slog.String("dir", db.dir))
	if db.dropBallast() {
		return true
	}
	select {
	case <-db.stop:
		return false
	case <-db.failed:
		return false
	case <-time.After(roomInterval):
		return true
	}
}

// awaitFull returns the oldest memtable that takes no writes any more, nil when the database ends.
func (db *DB) awaitFull() *skiplist {
	db.mu.Lock()
	defer db.mu.Unlock()
	for db.err == nil && !db.closed {
		if lists := db.current.lists; len(lists) > 1 {
			return lists[len(lists)-1]
		}
		db.changed.Wait()
	}
	return nil
}

// compactLoop merges tables.
func (db *DB) compactLoop() {
	for {
		window, oldest := db.awaitMerge()
		if window == nil {
			return
		}
		cursors := make([]cursor, len(window))
		for i, t := range window {
			cursors[i] = newTableCursor(t)
		}
		started := db.changes()
		// A deletion must be kept while an older table may have the key.
		t, err := db.writeTable(cursors, oldest)
		for _, c := range cursors {
			c.close()
		}
		if err == nil {
			err = db.replace(nil, window, t)
		}
		if errors.Is(err, syscall.ENOSPC) {
			if !db.awaitChange(started) { // a merge can wait for room
				return
			}
			continue
		}
		if err != nil {
			db.Fail(err)
			return
		}
	}
}

// changes counts the changes of the tables.
func (db *DB) changes() uint64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.installed
}

// awaitChange waits until the tables have changed since and tells whether the database is still open.
func (db *DB) awaitChange(since uint64) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	for db.err == nil && !db.closed && db.installed == since {
		db.changed.Wait()
	}
	return db.err == nil && !db.closed
}

// awaitMerge returns tables to merge, the newest first, and whether the oldest of all is among them; nil when the database ends.
func (db *DB) awaitMerge() (window []*table, oldest bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for db.err == nil && !db.closed {
		tables := db.current.tables
		if i, j := pickMerge(tables, db.options.MemtableSize); j > i {
			return tables[i:j:j], j == len(tables)
		}
		db.changed.Wait()
	}
	return nil, false
}

// pickMerge returns the tables [i, j) to merge; i == j if there is nothing to do.
func pickMerge(tables []*table, unit int64) (i, j int) {
	for i := range tables {
		j := i + 1
		for j < len(tables) && tier(tables[j].size, unit) <= tier(tables[i].size, unit) {
			j++
		}
		if j-i >= mergeWidth {
			return i, j
		}
	}
	return 0, 0
}

// tier is the number of times that size must be divided by four to be at most unit.
func tier(size, unit int64) int {
	return (bits.Len64(uint64((size-1)/unit)) + 1) / 2
}

// writeTable merges cursors, the newest first, into a new table. It returns nil without an error when the database
// is being closed, or when nothing is left.
func (db *DB) writeTable(cursors []cursor, dropDeleted bool) (*table, error) {
	db.mu.Lock()
	id := db.nextID
	db.nextID++
	db.mu.Unlock()
	w, err := newTableWriter(db.path(id), id)
	if err != nil {
		return nil, err
	}
	if err := db.merge(w, cursors, dropDeleted); err != nil || len(w.hashes) == 0 {
		w.abort()
		return nil, err
	}
	t, err := w.finish()
	if err != nil {
		w.abort()
		return nil, err
	}
	return t, nil
}

func (db *DB) merge(w *tableWriter, cursors []cursor, dropDeleted bool) error {
	it := Iterator{cursors: cursors, keepDeleted: !dropDeleted}
	paced, since := int64(0), time.Now()
	for ok := it.Seek(nil); ok; ok = it.Next() {
		if w.offset-paced >= paceBytes {
			if err := db.ended(); err != nil {
				return err
			}
			if len(cursors) > 1 && db.tables() < urgentTables {
				time.Sleep(min(time.Since(since), maxPause)) // leave half of a core to others
			}
			paced, since = w.offset, time.Now()
		}
		if err := w.add(it.at); err != nil {
			return err
		}
	}
	return it.failed
}

func (db *DB) tables() int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return len(db.current.tables)
}

// ended tells whether background work is of no use any more.
func (db *DB) ended() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return ErrClosed
	}
	return db.err
}

// replace puts t (nil: nothing) in the place of a memtable or of a window of tables, first in
// the manifest, then in memory.
func (db *DB) replace(list *skiplist, window []*table, t *table) error {
	db.manifest.Lock()
	defer db.manifest.Unlock()
	db.mu.Lock()
	old := db.current.tables
	db.mu.Unlock()
	// Only this function, under db.manifest, changes the tables.
	tables := make([]*table, 0, len(old)+1)
	if list != nil && t != nil {
		tables = append(tables, t)
	}
	for i := range old {
		if len(window) > 0 && old[i] == window[0] {
			if t != nil {
				tables = append(tables, t)
			}
		}
		if !slices.Contains(window, old[i]) {
			tables = append(tables, old[i])
		}
	}
	if err := db.saveManifest(tables); err != nil {
		if t != nil {
			t.discard() // the file is removed by the next Open, unless the manifest names it after all
		}
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, gone := range window {
		gone.obsolete = true
	}
	lists := db.current.lists
	if len(window) > 0 {
		db.stats.Merges++
		if t != nil {
			db.stats.MergedBytes += uint64(t.size)
		}
	}
	if list != nil {
		db.stats.Flushes++
		lists = slices.Clone(lists[:len(lists)-1])
	}
	db.install(&state{lists: lists, tables: tables})
	return nil
}
