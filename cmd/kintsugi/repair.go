package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/erasure"
	"kintsugi/meta/membership"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardstore"
)

// repair runs a reconciler and a scrubber for every drive that is open.
type repair struct {
	cfg     repairConfig
	counter *storagenode.Counter
	codes   *erasure.Cache
	metrics *storagenode.Metrics

	running sync.WaitGroup
	mu      sync.RWMutex // guards the following
	workers map[placement.DriveID]*repairWorker
	cleaned map[uint32]uint64 // partition -> epoch under which its homes were found complete
	orders  membership.Orders // the newest, of a cluster
}

// repairConfig is what the repair of one process needs to know.
type repairConfig struct {
	view    storagenode.Cluster
	live    storagenode.Liveness    // tells which chunks are needed; nil: not asked here
	fence   *storagenode.Fence      // of the drives; nil: all that know the map are in this process
	settle  time.Duration           // age from which a chunk that lacks shards is repaired
	busy    func() bool             // there is foreground traffic
	remote  func(placement.ShardID) // is told shards that drives of other processes miss; nil: there are none
	log     *slog.Logger
	metrics prometheus.Registerer
}

// localSettle is enough where all writers are in this process: what they still write is not harmed by a repair that comes too early.
const localSettle = 4 * time.Second

// repairWorker is what runs for one drive.
type repairWorker struct {
	reconciler *storagenode.Reconciler
	scrubber   *storagenode.Scrubber
	stop       context.CancelFunc

	scrubOrder  uint64 // serial of the last order to scrub
	scrubPasses uint64 // that were done when it came
}

// scrubbed is the serial of the last order to scrub that is done.
func (w *repairWorker) scrubbed() uint64 {
	if w.scrubber.Passes() > w.scrubPasses {
		return w.scrubOrder
	}
	return 0
}

func newRepair(cfg repairConfig) (*repair, error) {
	metrics, err := storagenode.NewMetrics(cfg.metrics)
	if err != nil {
		return nil, err
	}
	return &repair{cfg: cfg, counter: storagenode.NewCounter(cfg.view, cfg.live), codes: &erasure.Cache{}, metrics: metrics, workers: map[placement.DriveID]*repairWorker{}, cleaned: map[uint32]uint64{}}, nil
}

// start begins to work for the drive in b.
func (r *repair) start(b *bay) {
	log := r.cfg.log.With("dir", b.dir)
	reconciler, err := storagenode.New(storagenode.Config{
		Drive: b.driveID(), Codes: r.codes, Metrics: r.metrics, Logger: log,
		Hint: r.hint, Clean: r.clean, Settle: r.cfg.settle, Retry: time.Second, Busy: r.cfg.busy,
	}, r.local(b.store), r.cfg.view)
	if err != nil {
		log.Error("the drive cannot be repaired", "error", err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	scrubber := storagenode.NewScrubber(storagenode.ScrubConfig{Hint: r.hint, Metrics: r.metrics, Logger: log}, b.store)
	w := &repairWorker{reconciler: reconciler, scrubber: scrubber, stop: cancel}
	for name, run := range map[string]func(context.Context) error{"repair": reconciler.Run, "scrub": scrubber.Run} {
		r.running.Go(func() {
			if err := run(ctx); err != nil {
				log.Info("stopped with the drive", "worker", name, "error", err)
			}
		})
	}
	r.mu.Lock()
	reconciler.SetLimit(r.orders.RepairLimit)
	r.workers[b.driveID()] = w
	r.mu.Unlock()
	r.notify()
}

// local is a drive as its reconciler sees it.
func (r *repair) local(s *shardstore.Store) storagenode.Drive {
	if r.cfg.fence == nil {
		return s
	}
	return ownDrive{s, r.cfg.fence}
}

// stopDrive ends the work for a drive. It does not wait: the drive may hang.
func (r *repair) stopDrive(id placement.DriveID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.workers[id]; w != nil {
		w.stop()
		delete(r.workers, id)
	}
}

// stopAll ends all work and waits for it.
func (r *repair) stopAll() {
	r.mu.Lock()
	for _, w := range r.workers {
		w.stop()
	}
	clear(r.workers)
	r.mu.Unlock()
	r.running.Wait()
}

// hint passes a missing or damaged shard to the drives: its home knows itself.
func (r *repair) hint(id placement.ShardID) {
	r.hintLocal(id)
	if r.cfg.remote != nil {
		r.cfg.remote(id)
	}
}

// hintLocal passes it to the drives of this process.
func (r *repair) hintLocal(id placement.ShardID) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, w := range r.workers {
		w.reconciler.Hint(id)
	}
}

// notify tells every reconciler that the map or the set of drives has changed.
func (r *repair) notify() {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, w := range r.workers {
		w.reconciler.Notify()
	}
}

// catchUp tells every reconciler that this process may have missed something.
func (r *repair) catchUp() {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, w := range r.workers {
		w.reconciler.CatchUp()
	}
}

// order has the drives do what an operator wants, if that is new. What was ordered before this process started is done.
func (r *repair) order(o membership.Orders) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.orders
	if o.Serial <= last.Serial {
		return
	}
	r.orders = o
	for _, w := range r.workers {
		w.reconciler.SetLimit(o.RepairLimit)
		if o.RepairSerial > last.RepairSerial {
			w.reconciler.CompareAll()
		}
		if o.ScrubSerial > last.ScrubSerial {
			w.scrubOrder, w.scrubPasses = o.ScrubSerial, w.scrubber.Passes()
			w.scrubber.ScrubNow()
		}
	}
}

// report is what the coordinator is told: partitions that are complete, once, and what there is to do.
func (r *repair) report() (clean []membership.Clean, sum membership.Repair) {
	s := r.status()
	r.mu.Lock()
	defer r.mu.Unlock()
	byEpoch := map[uint64][]uint32{}
	for p, epoch := range r.cleaned {
		byEpoch[epoch] = append(byEpoch[epoch], p)
	}
	clear(r.cleaned)
	for _, epoch := range slices.Sorted(maps.Keys(byEpoch)) {
		clean = append(clean, membership.Clean{Epoch: epoch, Partitions: byEpoch[epoch]})
	}
	return clean, membership.Repair{
		PendingShards: s.PendingShards, PendingPartitions: s.PendingPartitions, BytesPerSecond: s.BytesPerSecond,
		ETASeconds: s.ETASeconds, ReadBytes: s.ReadBytes, WrittenBytes: s.WrittenBytes,
	}
}

// scrubbed is the serial of the last order to scrub that the drive has carried out.
func (r *repair) scrubbed(id placement.DriveID) uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if w := r.workers[id]; w != nil {
		return w.scrubbed()
	}
	return 0
}

// clean takes note of partitions whose homes are complete under a map; the
// monitor closes their transitions, many at a time.
func (r *repair) clean(epoch uint64, partitions []uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range partitions {
		r.cleaned[p] = max(r.cleaned[p], epoch)
	}
}

// takeClean returns the partitions that were reported under a map whose homes are the present ones: those since epoch.
func (r *repair) takeClean(epoch uint64) []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var partitions []uint32
	for p, at := range r.cleaned {
		if at >= epoch {
			partitions = append(partitions, p)
		}
	}
	clear(r.cleaned)
	return partitions
}

// repairStatus is the state of all reconcilers in the answer of /status.
type repairStatus struct {
	PendingShards     int     `json:"pendingShards"`
	PendingPartitions int     `json:"pendingPartitions"`
	BytesPerSecond    float64 `json:"bytesPerSecond"`
	ETASeconds        float64 `json:"etaSeconds"` // negative: nothing moves
	ReadBytes         uint64  `json:"readBytes"`  // since the start
	WrittenBytes      uint64  `json:"writtenBytes"`
}

func (r *repair) status() repairStatus {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var sum repairStatus
	for _, w := range r.workers {
		s := w.reconciler.Status()
		sum.PendingShards += s.PendingShards
		sum.PendingPartitions += s.PendingPartitions
		sum.BytesPerSecond += s.BytesPerSecond
		sum.ReadBytes += s.ReadBytes
		sum.WrittenBytes += s.WrittenBytes
		if s.ETA < 0 {
			sum.ETASeconds = -1
		} else if sum.ETASeconds >= 0 {
			sum.ETASeconds = max(sum.ETASeconds, s.ETA.Seconds())
		}
	}
	return sum
}

// redundancyTimeout bounds the count behind /status.
const redundancyTimeout = 20 * time.Second

// redundancy counts the chunks by how many of their shards can be reached.
func (r *repair) redundancy(ctx context.Context) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, redundancyTimeout)
	defer cancel()
	count, err := r.counter.Count(ctx)
	if err != nil {
		return nil, fmt.Errorf("count redundancy: %w", err)
	}
	by := map[string]uint64{"whole": count.Whole()}
	for lost, n := range count.Lost[1:] {
		if n > 0 {
			by["lost "+strconv.Itoa(lost+1)] = n
		}
	}
	if count.Unreadable > 0 {
		by["unreadable"] = count.Unreadable
	}
	if count.Abandoned > 0 {
		by["abandoned"] = count.Abandoned
	}
	return by, nil
}
