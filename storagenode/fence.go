package storagenode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/internal/plant"
	"kintsugi/placement"
)

// Errors of a Fence are matched with errors.Is.
var (
	// ErrFenced: the node has no lease. It was cut off or stopped, and others may have gone on without it.
	ErrFenced = errors.New("storage node has no lease")
	// ErrStaleMap: the request was made under a map that is out of date; it is in a *StaleMapError.
	ErrStaleMap = errors.New("cluster map out of date")
)

// StaleMapError says which map to get before the request is made anew.
type StaleMapError struct {
	Epoch uint64 // at least this one
}

func (e *StaleMapError) Error() string {
	return fmt.Sprintf("%v: epoch %d is known", ErrStaleMap, e.Epoch)
}

// Is makes it an ErrStaleMap.
func (e *StaleMapError) Is(target error) bool { return target == ErrStaleMap }

// Fence decides whether a storage node may take a write. A node that was stopped or cut off and one
// whose caller has an old map could otherwise acknowledge what no reader would look for, or
// what repair has already counted as absent. It does no I/O.
type Fence struct {
	refused [reasons]prometheus.Counter // nil: none

	mu    sync.RWMutex // guards what follows
	m     *placement.Map
	since []uint64      // by partition, the epoch from which on its homes are the present ones, or a later one
	heard uint64        // the newest epoch that anybody has named
	news  chan struct{} // closed and replaced with each map
	until time.Time     // end of the lease; with a monotonic reading, so that neither a stop nor a clock moves it
}

type reason int

const (
	noLease reason = iota
	staleMap
	closedDrive
	reasons
)

var reasonNames = [reasons]string{noLease: "lease", staleMap: "map", closedDrive: "drive"}

// NewFence returns a Fence that refuses everything until it has a map and a lease. r may be nil.
func NewFence(r prometheus.Registerer) (*Fence, error) {
	f := &Fence{news: make(chan struct{})}
	if r == nil {
		return f, nil
	}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kintsugi_storagenode_fenced_writes_total", Help: "Writes refused because the node or the writer may be out of date.",
	}, []string{"reason"})
	for i, name := range reasonNames {
		f.refused[i] = refused.WithLabelValues(name)
	}
	return f, r.Register(refused)
}

// SetMap takes a newer map.
func (f *Fence) SetMap(m *placement.Map) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.m
	if m == nil || old != nil && m.Epoch <= old.Epoch {
		return
	}
	if old == nil || old.Partitions != m.Partitions {
		f.since = make([]uint64, m.Partitions)
		old = nil
	}
	for p := range f.since {
		if old == nil || !slices.Equal(old.Homes(uint32(p)), m.Homes(uint32(p))) {
			f.since[p] = m.Epoch
		}
	}
	f.m, f.heard = m, max(f.heard, m.Epoch)
	close(f.news)
	f.news = make(chan struct{})
}

// newsTime bounds the wait for a map that others have already: it is on its way.
const newsTime = time.Second

// Await waits, for a while, until this node has the newest map that it has heard of: before that it cannot tell
// whose writes may pass, and most of them may.
func (f *Fence) Await(ctx context.Context) {
	behind, news := f.behind()
	if !behind {
		return
	}
	timer := time.NewTimer(newsTime)
	defer timer.Stop()
	for behind {
		select {
		case <-news:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
		behind, news = f.behind()
	}
}

// behind tells whether somebody has a newer map, and what is closed when the next one comes.
func (f *Fence) behind() (bool, <-chan struct{}) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.m != nil && f.heard > f.m.Epoch, f.news
}

// Heard notes that somebody acts under the map of this epoch: from now on older ones may be out of date.
func (f *Fence) Heard(epoch uint64) {
	f.mu.RLock()
	known := epoch <= f.heard
	f.mu.RUnlock()
	if known {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = max(f.heard, epoch)
}

// SetLease lets writes pass until a time, which never goes back.
func (f *Fence) SetLease(until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if until.After(f.until) {
		f.until = until
	}
}

// Leased tells whether the node has a lease.
func (f *Fence) Leased() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return time.Now().Before(f.until)
}

// Admit tells whether a shard of a partition may be written to a drive on behalf of
// somebody who has the map of this epoch. It is asked before the write and again before it is acknowledged.
func (f *Fence) Admit(partition uint32, drive placement.DriveID, epoch uint64) error {
	if plant.Is(plant.NoFencing) {
		return nil
	}
	f.mu.RLock()
	why, err := f.judge(time.Now(), partition, drive, epoch)
	f.mu.RUnlock()
	if err != nil && f.refused[why] != nil {
		f.refused[why].Inc()
	}
	return err
}

// judge is called with mu held.
func (f *Fence) judge(now time.Time, partition uint32, drive placement.DriveID, epoch uint64) (reason, error) {
	if f.m == nil || !now.Before(f.until) {
		return noLease, ErrFenced
	}
	if err := f.upToDate(partition, epoch); err != nil {
		return staleMap, err
	}
	if epoch > f.m.Epoch {
		return 0, nil // the writer knows more than this node
	}
	if d, ok := f.m.Drive(drive); !ok || d.State != placement.Up {
		return closedDrive, &StaleMapError{f.m.Epoch}
	}
	return 0, nil
}

// AdmitDrop tells whether what was judged under the map of an epoch to be a copy too many still is one.
func (f *Fence) AdmitDrop(epoch uint64, ids []placement.ShardID) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.m == nil {
		return ErrFenced
	}
	for _, id := range ids {
		if err := f.upToDate(f.m.Partition(id.Blob, id.Chunk), epoch); err != nil {
			return err
		}
	}
	return nil
}

// upToDate is called with mu held.
func (f *Fence) upToDate(partition uint32, epoch uint64) error {
	switch {
	case epoch < f.heard && f.heard > f.m.Epoch:
		return &StaleMapError{f.heard} // what has changed is not known here yet
	case int64(partition) < int64(len(f.since)) && epoch < f.since[partition]:
		return &StaleMapError{f.m.Epoch}
	}
	return nil
}

// StaleMap tells whether an error says that a newer map is to be got, and which at least.
func StaleMap(err error) (epoch uint64, ok bool) {
	var stale *StaleMapError
	if errors.As(err, &stale) {
		return stale.Epoch, true
	}
	return 0, errors.Is(err, ErrStaleMap)
}
