package storagenode

import (
	"context"

	"kintsugi/erasure"
)

// Redundancy says how many shards the chunks of a cluster have at this moment on
// drives that can be reached, wherever they are.
type Redundancy struct {
	Chunks uint64
	Bytes  uint64 // of the chunks, before coding
	// Lost[i] counts the chunks that can be read and lack i of their shards.
	Lost []uint64
	// Unreadable counts the chunks with fewer than k shards: those of drives that are
	// down, and what uploads that were cut off left, until it is swept away.
	Unreadable uint64
}

// Whole is the number of chunks that lack nothing.
func (r Redundancy) Whole() uint64 { return r.Lost[0] }

// CountRedundancy goes through the lists of all drives. It reads no shard, but
// its work grows with their number.
func CountRedundancy(ctx context.Context, cluster Cluster) (Redundancy, error) {
	count := Redundancy{Lost: make([]uint64, 1)}
	m := cluster.Map()
	if m == nil {
		return count, nil
	}
	var holdings []holding
	for p := range uint32(m.Partitions) {
		var cursors []*cursor
		for _, d := range m.Drives {
			if peer := cluster.Peer(d.ID); peer != nil {
				cursors = append(cursors, &cursor{peer: peer, drive: d.ID, partition: p})
			}
		}
		for {
			var err error
			if holdings, err = next(ctx, cursors, holdings[:0]); err != nil {
				return count, err
			}
			if len(holdings) == 0 {
				break
			}
			count.add(holdings)
		}
		if err := ctx.Err(); err != nil {
			return count, err
		}
	}
	return count, nil
}

func (r *Redundancy) add(holdings []holding) {
	c, holdings := agreed(holdings)
	live := distinct(holdings, c)
	r.Chunks++
	r.Bytes += uint64(c.chunkSize)
	if live < int(c.k) {
		r.Unreadable++
		return
	}
	lost := min(max(0, c.shards()-live), erasure.MaxShards)
	for len(r.Lost) <= lost {
		r.Lost = append(r.Lost, 0)
	}
	r.Lost[lost]++
}
