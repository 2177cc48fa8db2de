package lsm

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// Errors are matched with errors.Is.
var (
	ErrCorrupt = errors.New("damaged table or manifest")
	ErrClosed  = errors.New("database closed")
)

// Options are the settings of a DB. The zero value is usable.
type Options struct {
	MemtableSize int64        // bytes of memory after which writes go to a table; 0: 4 MiB
	MaxUnflushed int          // memtables that wait for that before Commit waits; 0: 2
	BallastBytes int64        // size of a file that is given up when the drive is full; 0: none
	Logger       *slog.Logger // nil: discard
}

// DB is an open database.
type DB struct {
	dir     string
	options Options
	dirFile *os.File

	mu      sync.Mutex // guards what follows
	changed *sync.Cond // of current, err and closed
	current *state
	refs    map[*table]int // of states, views and the manifest
	nextID  uint64         // of a table
	pins    map[*state]int
	err     error // the first failure: nothing is written any more
	closed  bool

	installed uint64 // counts changes of current
	stats     Stats  // of which the counters are kept here

	sequence atomic.Uint64 // of the newest visible write
	writer   sync.Mutex    // serializes Commit and Flush
	manifest sync.Mutex    // serializes changes of the tables; taken before mu
	workers  sync.WaitGroup
	failed   chan struct{} // closed by the first failure
	stop     chan struct{} // closed by Close
}

// Open opens the database in dir, which it makes if need be. ErrCorrupt says that its files are damaged.
func Open(dir string, options Options) (*DB, error) {
	if options.MemtableSize <= 0 {
		options.MemtableSize = 4 << 20
	}
	if options.MaxUnflushed <= 0 {
		options.MaxUnflushed = 2
	}
	options.Logger = cmp.Or(options.Logger, slog.New(slog.DiscardHandler))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	dirFile, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	db := &DB{
		dir: dir, options: options, dirFile: dirFile, nextID: 1, failed: make(chan struct{}), stop: make(chan struct{}),
		refs: make(map[*table]int), pins: make(map[*state]int),
	}
	db.changed = sync.NewCond(&db.mu)
	tables, err := db.loadTables()
	if err != nil {
		return nil, errors.Join(err, dirFile.Close())
	}
	db.current = &state{lists: []*skiplist{newSkiplist()}, tables: tables}
	db.acquireState(db.current)
	if err := db.makeBallast(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	db.workers.Go(db.flushLoop)
	db.workers.Go(db.compactLoop)
	return db, nil
}

// View pins the present state.
func (db *DB) View() *View {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.acquireState(db.current)
	return &View{db: db, sequence: db.sequence.Load(), state: db.current}
}

// Begin starts a transaction over the present state. It must be released.
func (db *DB) Begin() *Txn {
	return &Txn{View: *db.View(), writes: newSkiplist()}
}

// Commit makes the writes of t visible, all at once. They are durable after the next Flush. While too
// many memtables wait for being written it waits. One transaction at a time may be open between Begin and Commit.
func (db *DB) Commit(t *Txn) error {
	db.writer.Lock()
	defer db.writer.Unlock()
	if err := db.makeRoom(); err != nil {
		return err
	}
	list := db.active()
	sequence := db.sequence.Load() + 1
	c := listCursor{list: t.writes, sequence: math.MaxUint64}
	for c.seek(nil); c.current() != nil; c.next() {
		e := *c.current()
		e.sequence = sequence
		list.insert(e)
	}
	db.sequence.Store(sequence)
	return nil
}

func (db *DB) active() *skiplist {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.current.lists[0]
}

// makeRoom begins a new memtable if the active one is full, and waits while too many wait to be written.
func (db *DB) makeRoom() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	for {
		switch {
		case db.err != nil:
			return db.err
		case db.closed:
			return ErrClosed
		case db.current.lists[0].bytes.Load() < db.options.MemtableSize:
			return nil
		case len(db.current.lists) <= db.options.MaxUnflushed:
			db.rotate()
			return nil
		}
		db.changed.Wait()
	}
}

// rotate begins a new memtable. The caller holds db.mu and db.writer.
func (db *DB) rotate() {
	lists := append([]*skiplist{newSkiplist()}, db.current.lists...)
	db.install(&state{lists: lists, tables: db.current.tables})
}

// install replaces the current state. The caller holds db.mu.
func (db *DB) install(s *state) {
	old := db.current
	db.current = s
	db.installed++
	db.acquireState(s)
	db.releaseState(old)
	db.changed.Broadcast()
}

func (db *DB) acquireState(s *state) {
	db.pins[s]++
	if db.pins[s] == 1 {
		for _, t := range s.tables {
			db.refs[t]++
		}
	}
}

func (db *DB) releaseState(s *state) {
	db.pins[s]--
	if db.pins[s] > 0 {
		return
	}
	delete(db.pins, s)
	for _, t := range s.tables {
		db.refs[t]--
		if db.refs[t] == 0 {
			delete(db.refs, t)
			t.discard()
		}
	}
}

func (db *DB) release(s *state) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.releaseState(s)
}

// Flush makes all that was committed durable.
func (db *DB) Flush() error {
	db.writer.Lock()
	defer db.writer.Unlock()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.current.lists[0].bytes.Load() > 0 && db.err == nil && !db.closed {
		db.rotate()
	}
	for len(db.current.lists) > 1 && db.err == nil && !db.closed {
		db.changed.Wait()
	}
	if db.err == nil && db.closed {
		return ErrClosed
	}
	return db.err
}

// Stats is what a DB has and did.
type Stats struct {
	Tables      int
	TableBytes  int64
	MemoryBytes int64  // of memtables
	Flushes     uint64 // memtables written
	Merges      uint64
	MergedBytes uint64 // written by them
}

// Stats returns the present figures.
func (db *DB) Stats() Stats {
	db.mu.Lock()
	defer db.mu.Unlock()
	s := db.stats
	s.Tables = len(db.current.tables)
	for _, t := range db.current.tables {
		s.TableBytes += t.size
	}
	for _, list := range db.current.lists {
		s.MemoryBytes += list.bytes.Load()
	}
	return s
}

// Failed is closed by the first failure of a write or of verification in the background.
func (db *DB) Failed() <-chan struct{} { return db.failed }

// Err returns the first failure.
func (db *DB) Err() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.err
}

// Fail makes every further write return err, as damage that a reader found does.
func (db *DB) Fail(err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.err != nil || db.closed {
		return
	}
	db.err = err
	close(db.failed)
	db.changed.Broadcast()
}

// Close ends the background work and closes the files that no view holds. What was not flushed is lost.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	close(db.stop)
	db.changed.Broadcast()
	db.mu.Unlock()
	db.workers.Wait()
	db.mu.Lock()
	defer db.mu.Unlock()
	db.releaseState(db.current)
	if err := db.dirFile.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

func (db *DB) path(id uint64) string { return filepath.Join(db.dir, tableName(id)) }
