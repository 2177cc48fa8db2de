package blob

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"kintsugi/meta"
	"kintsugi/placement"
)

// deleteBatch is how many shards a drive is told to delete at once.
const deleteBatch = 1024

// deleteTimeout bounds the wait for drives that are told to delete.
const deleteTimeout = 30 * time.Second

// deletions are shards to be deleted, by drive.
type deletions map[target][]placement.ShardID

// Remove deletes the shards of a blob from the drives where they belong or may have been
// put. It fails if a drive that is up failed; of drives that are down, or that hold a shard for
// another, repair and the orphan sweep take care.
func (s *Store) Remove(ctx context.Context, b meta.Blob) error {
	d := make(deletions)
	if err := s.planRemoval(b, d); err != nil {
		return err
	}
	return s.delete(ctx, d)
}

// planRemoval adds the shards of a blob to d.
func (s *Store) planRemoval(b meta.Blob, d deletions) error {
	if err := validate(&b); err != nil {
		return err
	}
	m := s.cluster.Map()
	chunk := uint32(0)
	for _, run := range b.Runs {
		for range run.Chunks {
			s.planChunkRemoval(m, b.ID, chunk, run, d)
			chunk++
		}
	}
	return nil
}

// planChunkRemoval adds the shards of one chunk. Those of a chunk that met with failures, be it in a narrower code or a
// second attempt, may be anywhere near the top of the ranking.
func (s *Store) planChunkRemoval(m *placement.Map, blob placement.BlobID, chunk uint32, run meta.Run, d deletions) {
	shards := int(run.K) + int(run.M)
	if run.Attempt == 0 && shards >= m.Slots() {
		partition := m.Partition(blob, chunk)
		for _, homes := range [][]placement.DriveID{m.Homes(partition), m.Previous(partition)} {
			for i, id := range homes[:min(shards, len(homes))] {
				d.add(s.target(id), placement.ShardID{Blob: blob, Chunk: chunk, Index: uint8(i)})
			}
		}
		return
	}
	for attempt := range int(run.Attempt) + 1 {
		number := chunk | uint32(attempt)<<attemptShift
		partition := m.Partition(blob, number)
		drives := slices.Concat(m.Ranking(partition), m.Previous(partition))
		for _, id := range drives[:min(3*m.Slots(), len(drives))] {
			t := s.target(id)
			for i := range max(shards, m.Slots()) {
				d.add(t, placement.ShardID{Blob: blob, Chunk: number, Index: uint8(i)})
			}
		}
	}
}

// add leaves out drives that are down.
func (d deletions) add(t target, id placement.ShardID) {
	if t.drive != nil {
		d[t] = append(d[t], id)
	}
}

// target reaches a drive; its drive is nil if it is down.
func (s *Store) target(id placement.DriveID) target {
	if id.IsZero() {
		return target{}
	}
	d := s.cluster.Drive(id)
	if d == nil {
		return target{}
	}
	return target{d, s.health.of(id, d)}
}

// delete runs the deletions, the drives beside each other. One that hangs is left behind: it is an error now, and later
// the drive counts as down.
func (s *Store) delete(ctx context.Context, d deletions) error {
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	results := make(chan error, len(d))
	calls := make([]*deletion, 0, len(d))
	for t, ids := range d {
		if t.health.deletes.open() {
			results <- nil
			continue
		}
		if !s.enter() {
			return ErrClosed
		}
		c := &deletion{at: t.health}
		calls = append(calls, c)
		go func() {
			defer s.background.Done()
			results <- deleteFrom(ctx, t, ids)
			c.end()
		}()
	}
	var all []error
	for range d {
		select {
		case err := <-results:
			all = append(all, err)
		case <-ctx.Done():
			for _, c := range calls {
				c.abandon()
			}
			return errors.Join(append(all, ctx.Err())...)
		}
	}
	return errors.Join(all...)
}

// deletion is a call that may have to be left behind.
type deletion struct {
	at    *health
	mu    sync.Mutex // guards what follows
	ended bool
	left  bool
}

func (c *deletion) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.left {
		c.at.deletes.returned(time.Now(), false)
	}
}

func (c *deletion) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.left = true
		c.at.deletes.abandon(time.Now())
	}
}

func deleteFrom(ctx context.Context, t target, ids []placement.ShardID) error {
	for batch := range slices.Chunk(ids, deleteBatch) {
		if err := t.drive.Delete(ctx, batch); err != nil {
			return fmt.Errorf("delete from drive %s: %w", t.health.id, err)
		}
	}
	return nil
}

// deleteLater runs the deletions in the background.
func (s *Store) deleteLater(d deletions) {
	if len(d) == 0 || !s.enter() {
		return
	}
	go func() {
		defer s.background.Done()
		if err := s.delete(s.ctx, d); err != nil {
			s.config.Logger.Info("shards of an unfinished write are left to the orphan sweep", slog.Any("error", err))
		}
	}()
}

// discard removes in the background what was written of a blob that will not be.
func (s *Store) discard(b meta.Blob) {
	if len(b.Runs) == 0 {
		return
	}
	d := make(deletions)
	if err := s.planRemoval(b, d); err != nil {
		s.config.Logger.Error("unfinished blob contradicts itself", slog.String("blob", b.ID.String()), slog.Any("error", err))
		return
	}
	s.deleteLater(d)
}
