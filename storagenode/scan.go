package storagenode

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

const (
	pageShards  = 256  // shards asked for at once
	maxFindings = 4096 // chunks with work that one scan reports
)

// finding is a chunk of which the drive lacks its shard, or has one that may be of no use.
type finding struct {
	chunk  chunkID
	spare  int
	bytes  int64
	code   code
	intact bool // all other homes had theirs
}

// scanResult is what comparing a partition with the other drives brought.
type scanResult struct {
	missing   []finding
	surplus   []copyOf
	lacking   []placement.ShardID // that their homes, any homes, have not got though they could
	young     bool                // some of it may be being written at this moment: look again later
	truncated bool                // there is more than this
	unseen    bool                // a home could not be asked
}

// scanner compares one drive's partitions with those of the others.
type scanner struct {
	me      placement.DriveID
	local   Peer
	cluster Cluster
	census  *census
	settle  time.Duration // chunks younger than this are left to their writers
}

// scan looks at a partition. If it is not deep, equal digests at all homes are taken for equal contents.
func (s *scanner) scan(ctx context.Context, m *placement.Map, e scan) (scanResult, error) {
	homes := m.Homes(e.partition)
	own, err := s.local.Digest(ctx, e.partition)
	if err != nil {
		return scanResult{}, err
	}
	atHome := slices.Contains(homes, s.me)
	if !atHome && own.Count == 0 {
		return scanResult{}, nil
	}
	result := scanResult{}
	cursors := s.cursors(m, e.partition, &result)
	if !e.deep && atHome && own.OnlyIndex(slices.Index(homes, s.me)) && s.same(ctx, m, e, own, cursors[1:]) {
		return result, nil
	}
	err = s.merge(ctx, m, e.partition, cursors, &result)
	for _, c := range cursors {
		result.unseen = result.unseen || c.failed && slices.Contains(homes, c.drive)
	}
	return result, err
}

// cursors returns one for each home that is up, now and before, the own drive first.
func (s *scanner) cursors(m *placement.Map, partition uint32, result *scanResult) []*cursor {
	homes := m.Homes(partition)
	cursors := []*cursor{{peer: s.local, drive: s.me, partition: partition, must: true}}
	for _, id := range slices.Concat(homes, m.Previous(partition)) {
		if id.IsZero() || slices.ContainsFunc(cursors, func(c *cursor) bool { return c.drive == id }) {
			continue
		}
		if peer := s.cluster.Peer(id); peer != nil {
			cursors = append(cursors, &cursor{peer: peer, drive: id, partition: partition})
		} else {
			result.unseen = result.unseen || slices.Contains(homes, id)
		}
	}
	return cursors
}

// same tells whether all others have the chunks of the own drive, and the homes nothing but their own shards of them. If many partitions are looked at they are asked for
// all of them at once.
func (s *scanner) same(ctx context.Context, m *placement.Map, e scan, own shardstore.Digest, others []*cursor) bool {
	for _, c := range others {
		var digest shardstore.Digest
		var err error
		if e.many {
			digest, err = s.census.digest(ctx, c.drive, c.peer, m.Partitions, e.partition, compareAge)
		} else {
			digest, err = c.peer.Digest(ctx, e.partition)
		}
		slot := slices.Index(m.Homes(e.partition), c.drive)
		if err != nil || !digest.SameChunks(own) || slot >= 0 && !digest.OnlyIndex(slot) {
			return false
		}
	}
	return true
}

// merge goes through the lists of all drives at once, chunk by chunk.
func (s *scanner) merge(ctx context.Context, m *placement.Map, partition uint32, cursors []*cursor, result *scanResult) error {
	homes, moving := m.Homes(partition), m.Previous(partition) != nil
	now := time.Now()
	young := [2]int64{now.Add(-s.settle).Unix(), now.Add(s.settle).Unix()} // what is later comes from a wrong clock
	var holdings []holding
	for {
		var err error
		if holdings, err = next(ctx, cursors, holdings[:0]); err != nil || len(holdings) == 0 {
			return err
		}
		v := judge(homes, moving, s.me, holdings)
		if (v.missing || v.remains || len(v.lacking) > 0) && v.written > young[0] && v.written <= young[1] {
			result.young = true
			continue
		}
		if !result.add(chunkOf(holdings[0].info.ID), v) {
			result.truncated = true
			return nil
		}
	}
}

// add takes a verdict in; false if there is no room for more.
func (r *scanResult) add(chunk chunkID, v verdict) bool {
	if v.missing || v.remains {
		r.missing = append(r.missing, finding{chunk, v.spare, v.bytes, v.code, v.intact})
	}
	r.lacking = append(r.lacking, v.lacking...)
	r.surplus = append(r.surplus, v.surplus...)
	return max(len(r.missing), len(r.lacking), len(r.surplus)) < maxFindings
}

// cursor goes through the shards of a partition on one drive.
type cursor struct {
	peer      Peer
	drive     placement.DriveID
	partition uint32
	page      []shardstore.Info // not yet taken
	after     placement.ShardID
	end       bool
	failed    bool // it ended with an error, as if the drive were down
	must      bool // an error is the caller's
}

// fill gets the next page if there is none left.
func (c *cursor) fill(ctx context.Context) error {
	if len(c.page) > 0 || c.end {
		return nil
	}
	page, err := c.peer.List(ctx, c.partition, c.after, pageShards)
	if err != nil {
		c.end, c.failed = true, true
		if c.must {
			return err
		}
		return ctx.Err()
	}
	c.page, c.end = page, len(page) < pageShards
	if len(page) > 0 {
		c.after = page[len(page)-1].ID
	}
	return nil
}

// fillAll gets the next pages, those of drives behind connections at the same time.
func fillAll(ctx context.Context, cursors []*cursor) error {
	var filling sync.WaitGroup
	for _, c := range cursors {
		if _, far := c.peer.(Stater); far && len(c.page) == 0 && !c.end {
			filling.Go(func() { _ = c.fill(ctx) }) // none of these must succeed; ctx is looked at below
		}
	}
	filling.Wait()
	for _, c := range cursors {
		if err := c.fill(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// next takes all shards of the smallest chunk off the cursors; none are left if it returns none.
func next(ctx context.Context, cursors []*cursor, holdings []holding) ([]holding, error) {
	if err := fillAll(ctx, cursors); err != nil {
		return nil, err
	}
	var lowest *placement.ShardID
	for _, c := range cursors {
		if len(c.page) > 0 && (lowest == nil || compareChunks(c.page[0].ID, *lowest) < 0) {
			lowest = &c.page[0].ID
		}
	}
	if lowest == nil {
		return nil, nil
	}
	chunk := *lowest
	for _, c := range cursors {
		for len(c.page) > 0 && compareChunks(c.page[0].ID, chunk) == 0 {
			holdings = append(holdings, holding{c.drive, c.page[0]})
			c.page = c.page[1:]
			if err := c.fill(ctx); err != nil {
				return nil, err
			}
		}
	}
	return holdings, nil
}

func compareChunks(a, b placement.ShardID) int {
	return cmp.Or(bytes.Compare(a.Blob[:], b.Blob[:]), cmp.Compare(a.Chunk, b.Chunk))
}
