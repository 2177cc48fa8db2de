package storagenode

import (
	"bytes"
	"cmp"
	"context"
	"slices"
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
	chunk chunkID
	spare int
	bytes int64
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
	settle  time.Duration // chunks younger than this are left to their writers
}

// scan looks at a partition. If it is not deep, equal digests at all homes are taken for equal contents.
func (s *scanner) scan(ctx context.Context, m *placement.Map, partition uint32, deep bool) (scanResult, error) {
	homes := m.Homes(partition)
	own, err := s.local.Digest(ctx, partition)
	if err != nil {
		return scanResult{}, err
	}
	if !slices.Contains(homes, s.me) && own.Count == 0 {
		return scanResult{}, nil
	}
	result := scanResult{}
	cursors := []*cursor{{peer: s.local, drive: s.me, partition: partition, must: true}}
	same := true
	for _, id := range slices.Concat(homes, m.Previous(partition)) {
		if id.IsZero() || slices.ContainsFunc(cursors, func(c *cursor) bool { return c.drive == id }) {
			continue
		}
		peer := s.cluster.Peer(id)
		if peer == nil {
			result.unseen = result.unseen || slices.Contains(homes, id)
			continue
		}
		digest, err := peer.Digest(ctx, partition)
		if err != nil {
			result.unseen = result.unseen || slices.Contains(homes, id)
			continue
		}
		same = same && digest == own
		cursors = append(cursors, &cursor{peer: peer, drive: id, partition: partition})
	}
	if same && !deep && slices.Contains(homes, s.me) {
		return result, nil
	}
	err = s.merge(ctx, m, partition, cursors, &result)
	return result, err
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
		r.missing = append(r.missing, finding{chunk, v.spare, v.bytes})
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
	must      bool // an error is the caller's; others are at their end then, as if the drive were down
}

// head returns the next shard, nil at the end.
func (c *cursor) head(ctx context.Context) (*shardstore.Info, error) {
	if len(c.page) == 0 && !c.end {
		page, err := c.peer.List(ctx, c.partition, c.after, pageShards)
		if err != nil {
			c.end = true
			if c.must || ctx.Err() != nil {
				return nil, err
			}
		}
		c.page, c.end = page, c.end || len(page) < pageShards
		if len(page) > 0 {
			c.after = page[len(page)-1].ID
		}
	}
	if len(c.page) == 0 {
		return nil, nil
	}
	return &c.page[0], nil
}

// next takes all shards of the smallest chunk off the cursors; none are left if it returns none.
func next(ctx context.Context, cursors []*cursor, holdings []holding) ([]holding, error) {
	var lowest *placement.ShardID
	for _, c := range cursors {
		info, err := c.head(ctx)
		if err != nil {
			return nil, err
		}
		if info != nil && (lowest == nil || compareChunks(info.ID, *lowest) < 0) {
			lowest = &info.ID
		}
	}
	if lowest == nil {
		return nil, nil
	}
	chunk := *lowest
	for _, c := range cursors {
		for {
			info, err := c.head(ctx)
			if err != nil {
				return nil, err
			}
			if info == nil || compareChunks(info.ID, chunk) != 0 {
				break
			}
			holdings = append(holdings, holding{c.drive, *info})
			c.page = c.page[1:]
		}
	}
	return holdings, nil
}

func compareChunks(a, b placement.ShardID) int {
	return cmp.Or(bytes.Compare(a.Blob[:], b.Blob[:]), cmp.Compare(a.Chunk, b.Chunk))
}
