package blob

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"kintsugi/erasure"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// Drive is what the data path needs of a drive, here or elsewhere; its errors are those of
// shardstore. A Drive is a pointer: another value for the same id is taken for a drive that was opened anew.
type Drive interface {
	// Put makes a shard durable before it returns.
	Put(context.Context, shardstore.Header, []byte) error
	// ReadAt fills p from the shard's offset, in bytes, and has verified it; or fails.
	ReadAt(context.Context, placement.ShardID, []byte, int64) error
	// Delete forbids the shards for ever; those that it does not know, too.
	Delete(context.Context, []placement.ShardID) error
}

// Cluster tells where shards belong and reaches the drives.
type Cluster interface {
	// Map returns the newest cluster map known here. It is called for every chunk, and not before there is a map.
	Map() *placement.Map
	// Drive returns nil for a drive that is unknown or known to be down.
	Drive(placement.DriveID) Drive
}

// Store writes, reads and removes blobs.
type Store struct {
	config   Config
	cluster  Cluster
	health   *registry
	metrics  *metrics
	pins     pins
	underway underway

	writePool   *pool // data shards of chunks being read from a body or written
	scratchPool *pool // parity, written or read; taken last and given back without a further wait for memory, so nothing deadlocks
	readPool    *pool

	writers atomic.Int64 // bodies being written
	readers atomic.Int64 // Readers that fetch more than one window
	hedges  budget

	codes erasure.Cache

	ctx    context.Context // ends with the Store: bounds what goes on in the background
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed against background.Add
	closed bool
	// background counts removals and the drive calls that outlive their request.
	background sync.WaitGroup
}

// New returns a Store over the drives of cluster.
func New(config Config, cluster Cluster) (*Store, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store{config: config, cluster: cluster, metrics: newMetrics(), ctx: ctx, cancel: cancel}
	s.health = newRegistry(config, s.metrics)
	s.writePool = newPool(config.WriteMemory)
	s.scratchPool = newPool(config.ScratchMemory)
	s.readPool = newPool(config.ReadMemory)
	s.pins.counts = make(map[placement.BlobID]int)
	if err := s.metrics.register(config.Registerer, s); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// closeTimeout is how long Close waits for drives that hang.
const closeTimeout = 5 * time.Second

// Close waits for what goes on in the background: drive calls that were left behind by
// a hedge, and removals, which it cuts short. Readers and Writes must have ended.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	for _, p := range []*pool{s.writePool, s.scratchPool, s.readPool} {
		p.close()
	}
	done := make(chan struct{})
	go func() {
		s.background.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(closeTimeout):
		return fmt.Errorf("blob: drives still hold calls %v after the close", closeTimeout)
	}
}

// enter counts a piece of background work, unless the Store is closed.
func (s *Store) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.background.Add(1)
	return true
}
