package meta

import (
	"context"
	"encoding/binary"

	"kintsugi/placement"
)

// expandPages bounds an Expand: 32 pages hold about a thousand parts. maxExpands bounds those of one look at a queue.
const (
	expandPages = 32
	maxExpands  = 64
)

// Garbage returns up to limit entries from the head of a group's deletion queue. What was dropped as a whole is put there before, whatever
// waits there already: where something is deleted all the time the queue is never empty.
func (c *Client) Garbage(ctx context.Context, group, limit int) ([]Garbage, error) {
	for expands := 0; ; expands++ {
		page, err := as[GarbagePage](c.consensus.Query(ctx, group, GarbageQuery{Max: limit}, Linearizable))
		if err != nil {
			return nil, err
		}
		if !page.Pending || expands == maxExpands {
			return page.Garbage, nil
		}
		if _, err := c.propose(ctx, group, OpExpand, Expand{Pages: expandPages}); err != nil {
			return nil, err
		}
	}
}

// Forget removes entries from a group's deletion queue: their shards are gone everywhere.
func (c *Client) Forget(ctx context.Context, group int, sequences []uint64) error {
	for len(sequences) > 0 {
		n := min(len(sequences), 1000)
		if _, err := c.propose(ctx, group, OpForget, Forget{Sequences: sequences[:n]}); err != nil {
			return err
		}
		sequences = sequences[n:]
	}
	return nil
}

// BlobsLive tells for each blob whether a version or a part refers to it. A blob
// that is being written is not live yet (see MaxBlobAge), one in the deletion queue not any more.
func (c *Client) BlobsLive(ctx context.Context, blobs []placement.BlobID) ([]bool, error) {
	live := make([]bool, len(blobs))
	byGroup := make(map[int][]int)
	for i, id := range blobs {
		group := int(binary.BigEndian.Uint16(id[:2]))
		if group < c.consensus.Groups() { // another's blob is nobody's here
			byGroup[group] = append(byGroup[group], i)
		}
	}
	for group, indexes := range byGroup {
		q := LiveQuery{Blobs: make([]placement.BlobID, len(indexes))}
		for i, index := range indexes {
			q.Blobs[i] = blobs[index]
		}
		got, err := as[[]bool](c.consensus.Query(ctx, group, q, Linearizable))
		if err != nil {
			return nil, err
		}
		for i, index := range indexes {
			live[index] = got[i]
		}
	}
	return live, nil
}
