package blobtest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// Drive is an in-memory shard store with faults. Memory's own (Fail, SetFull, Damage) work, too.
type Drive struct {
	*shardstore.Memory
	ID placement.DriveID

	// Puts and Reads count the calls that were made.
	Puts, Reads atomic.Int64

	down atomic.Bool

	mu     sync.Mutex // guards the rest
	reads  fault
	writes fault
}

// fault is what a drive does before it does what it is asked.
type fault struct {
	delay time.Duration
	hang  chan struct{} // not nil: wait until it is closed
	err   error
	after int // calls that are still well
}

// NewDrive returns an empty drive without faults.
func NewDrive(id placement.DriveID) *Drive { return &Drive{Memory: shardstore.NewMemory(), ID: id} }

// Put stores a shard.
func (d *Drive) Put(ctx context.Context, h shardstore.Header, payload []byte) error {
	d.Puts.Add(1)
	if err := d.suffer(&d.writes); err != nil {
		return err
	}
	return d.Memory.Put(ctx, h, payload)
}

// ReadAt reads a range of a shard. A drive that hung fills p only when it is let go: whoever gave up on it must not use p.
func (d *Drive) ReadAt(ctx context.Context, id placement.ShardID, p []byte, off int64) error {
	d.Reads.Add(1)
	if err := d.suffer(&d.reads); err != nil {
		return err
	}
	return d.Memory.ReadAt(ctx, id, p, off)
}

// Delete deletes shards; it suffers what writes do, but a full drive deletes.
func (d *Drive) Delete(ctx context.Context, ids []placement.ShardID) error {
	if err := d.suffer(&d.writes); err != nil {
		return err
	}
	return d.Memory.Delete(ctx, ids)
}

// suffer waits and fails as told.
func (d *Drive) suffer(f *fault) error {
	d.mu.Lock()
	if f.after > 0 {
		f.after--
		d.mu.Unlock()
		return nil
	}
	now := *f
	d.mu.Unlock()
	if now.delay > 0 {
		time.Sleep(now.delay)
	}
	if now.hang != nil {
		<-now.hang
	}
	return now.err
}

// SetDown makes the cluster know, or forget, that the drive is down.
func (d *Drive) SetDown(down bool) { d.down.Store(down) }

// Slow makes reads and writes take longer.
func (d *Drive) Slow(reads, writes time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads.delay, d.writes.delay = reads, writes
}

// Hang makes calls wait until Resume; they ignore their contexts, as a system call does.
func (d *Drive) Hang(reads, writes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if reads && d.reads.hang == nil {
		d.reads.hang = make(chan struct{})
	}
	if writes && d.writes.hang == nil {
		d.writes.hang = make(chan struct{})
	}
}

// Resume ends a Hang.
func (d *Drive) Resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range []*fault{&d.reads, &d.writes} {
		if f.hang != nil {
			close(f.hang)
			f.hang = nil
		}
	}
}

// Refuse makes reads and writes fail after some that are still well; nil ends it.
func (d *Drive) Refuse(err error, after int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads.err, d.writes.err = err, err
	d.reads.after, d.writes.after = after, after
}

// DamageAll makes every shard corrupt.
func (d *Drive) DamageAll(partitions int) {
	for _, s := range d.shards(partitions) {
		d.Damage(s.ID)
	}
}

// shards lists all healthy shards; none of a drive that has failed.
func (d *Drive) shards(partitions int) []shardstore.Info {
	var all []shardstore.Info
	for p := range partitions {
		list, err := d.List(context.Background(), uint32(p), placement.ShardID{}, 1<<30)
		if err != nil {
			return nil
		}
		all = append(all, list...)
	}
	return all
}
