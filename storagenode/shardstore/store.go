package shardstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"kintsugi/internal/directio"
	"kintsugi/placement"
)

// Store keeps the shards of one drive. Its methods may be called from many
// goroutines at once.
//
// A write or sync that fails, or a directory that vanishes, makes the store
// fail for good: Failed is closed and every call answers ErrFailed. A new store
// may then be opened on what is left. Damage to what was written is another
// matter: it costs the shards that it hit, which answer ErrCorrupt.
type Store struct {
	dir   string
	cfg   Config
	disk  disk
	drive uint64 // driveHash
	log   *slog.Logger
	index *index

	segMu    sync.RWMutex // guards segments
	segments map[uint32]*segment

	tidying sync.Mutex // held by whoever seals, removes or recycles segments

	mu       sync.Mutex // guards what follows, and the fields of segments that say so
	seq      uint64     // the last one given away
	open     []uint64   // first sequences of writes that are not durable yet
	gen      uint32     // the last generation given away
	active   *segment   // takes the writes; nil on a full drive
	spare    *segment   // empty; the next active one
	reserve  *segment   // takes tombstones when nothing else does
	queue    []*batch   // for the committer, in order
	current  [2]*batch  // of queue, still open: puts, deletes
	room     chan struct{}
	deleting map[placement.ShardID]int // tombstones on their way
	full     bool
	closed   bool

	wake   chan struct{} // to the committer
	tidy   chan struct{} // to the housekeeper
	stop   chan struct{} // closed by Close
	failed chan struct{} // closed by fail
	once   sync.Once     // guards err
	err    error
	wg     sync.WaitGroup

	root    *os.Root // the directory; never another one at the same path
	dirFile *os.File // the same, for its syncs and to notice when it goes
	stats   stats
}

// Open opens the store in dir, which it makes if need be, and recovers what a
// crash left behind. Damaged records and hints are never an error.
func Open(dir string, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("shardstore: %w", err)
	}
	s := &Store{
		dir: dir, cfg: cfg, disk: cfg.disk, drive: driveHash(cfg.Drive),
		log:      cfg.Logger.With(slog.String("drive", cfg.Drive.String())),
		index:    newIndex(),
		segments: map[uint32]*segment{},
		room:     make(chan struct{}),
		deleting: map[placement.ShardID]int{},
		wake:     make(chan struct{}, 1),
		tidy:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		failed:   make(chan struct{}),
	}
	if err := s.start(); err != nil {
		s.closeFiles()
		return nil, fmt.Errorf("shardstore: open %s: %w", dir, err)
	}
	return s, nil
}

// makeDir makes sure that dir is there, also after a power cut.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return directio.SyncDir(filepath.Dir(dir))
}

func (s *Store) start() error {
	var err error
	if s.root, err = os.OpenRoot(s.dir); err != nil {
		return err
	}
	if s.dirFile, err = s.root.Open("."); err != nil {
		return err
	}
	space, err := directio.SpaceOf(s.dirFile)
	if err != nil {
		return err
	}
	s.cfg.MinFreeBytes = s.cfg.minFree(space.Size)
	if err := s.recover(); err != nil {
		return err
	}
	if err := s.prepare(); err != nil && !isFull(err) {
		return err
	}
	if err := s.registerMetrics(); err != nil {
		return err
	}
	s.wakeTidy() // what a crash left unsealed would be scanned again after the next one
	s.wg.Go(s.commitLoop)
	s.wg.Go(s.tidyLoop)
	s.wg.Go(s.watchLoop)
	return nil
}

// fail makes the store fail for good.
func (s *Store) fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.failed)
		s.log.Error("drive failed", slog.Any("error", err))
	})
}

// Failed is closed when the store has failed.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err tells why the store has failed; nil while it works.
func (s *Store) Err() error {
	select {
	case <-s.failed:
		return s.err
	default:
		return nil
	}
}

// usable tells whether a call may go ahead.
func (s *Store) usable(ctx context.Context) error {
	select {
	case <-s.failed:
		return ErrFailed
	case <-s.stop:
		return ErrFailed
	default:
		return ctx.Err()
	}
}

// closeTimeout bounds how long Close waits for a drive that does not answer.
const closeTimeout = 5 * time.Second

// Close makes later calls fail, waits for those under way and leaves the store
// so that it opens quickly.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	s.wakeCommitter()
	s.unregisterMetrics()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
		return fmt.Errorf("shardstore: close %s: %w", s.dir, context.DeadlineExceeded)
	}
	if s.Err() == nil {
		s.sealForClose()
	}
	s.closeFiles()
	return nil
}

func (s *Store) closeFiles() {
	for _, seg := range s.allSegments() {
		if seg.hint != nil {
			seg.hint.abandon()
		}
		seg.release()
		seg.release()
	}
	s.segMu.Lock()
	clear(s.segments)
	s.segMu.Unlock()
	if s.dirFile != nil {
		_ = s.dirFile.Close()
	}
	if s.root != nil {
		_ = s.root.Close()
	}
}

// watchLoop notices when the directory goes away under the store: its open files
// would go on working, and nothing written to them could ever be found again.
func (s *Store) watchLoop() {
	tick := time.NewTicker(s.cfg.WatchInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.failed:
			return
		case <-tick.C:
			if err := s.checkPresent(); err != nil {
				s.fail(err)
				return
			}
		}
	}
}

var errVanished = errors.New("directory or segment was removed")

// checkPresent fails if the directory or a segment that takes writes is gone.
func (s *Store) checkPresent() error {
	opened, err := s.dirFile.Stat()
	if err != nil {
		return err
	}
	now, err := os.Stat(s.dir)
	if err != nil {
		return err
	}
	if !os.SameFile(opened, now) {
		return errVanished
	}
	s.mu.Lock()
	watched := []*segment{s.active, s.spare, s.reserve}
	for _, seg := range watched {
		if seg != nil {
			seg.acquire()
		}
	}
	s.mu.Unlock()
	var first error
	for _, seg := range watched {
		if seg == nil {
			continue
		}
		if n, err := linkCount(seg.read); err == nil && n == 0 && first == nil {
			first = errVanished
		}
		seg.release()
	}
	return first
}

// freeBytes is what the filesystem has left.
func (s *Store) freeBytes() (int64, error) {
	space, err := directio.SpaceOf(s.dirFile)
	return space.Free, err
}

// wrap adds the drive and the shard to an error.
func (s *Store) wrap(id placement.ShardID, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Drive: s.cfg.Drive, Shard: id, Err: err}
}
