package storagenode

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"kintsugi/erasure"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// Redundancy says how many shards the chunks of a cluster have at this moment on
// drives that can be reached, wherever they are.
type Redundancy struct {
	Chunks uint64
	Bytes  uint64 // of the chunks, before coding
	// Lost[i] counts the chunks that can be read and lack i of their shards.
	Lost []uint64
	// Live[i] counts the chunks that can be read and have i shards.
	Live []uint64
	// AtRisk counts the chunks that can be read, but could not be after one more loss.
	AtRisk uint64
	// Unreadable counts the chunks with fewer than k shards that some object needs, as far as is known.
	Unreadable uint64
	// Abandoned counts those that lack shards and that no object needs: what writes that were cut off left, until the
	// orphan sweep takes it, what is left of deleted ones on drives that were not told, and what is just being written.
	Abandoned uint64
	// MissingBytes is the size of all shards that chunks which can be read lack.
	MissingBytes uint64
}

// Whole is the number of chunks that lack nothing.
func (r Redundancy) Whole() uint64 { return r.Lost[0] }

// Liveness tells which blobs the metadata refers to.
type Liveness interface {
	BlobsLive(ctx context.Context, blobs []placement.BlobID) ([]bool, error)
}

// Counter counts the redundancy of a cluster. It asks each drive for its digests, which is one call, and lists
// only those partitions that are not whole and have changed since the last count: it remembers the others.
type Counter struct {
	cluster Cluster
	live    Liveness           // nil: every chunk counts as needed
	mu      sync.Mutex         // held by Count; guards known
	known   []countedPartition // by partition
}

// countedPartition is what was counted when the drives had what the signature sums up.
type countedPartition struct {
	signature uint64
	count     *Redundancy // nil: never
	lacking   []lacking
}

// lacking is a chunk that has not got all its shards.
type lacking struct {
	blob         placement.BlobID
	k, live      int
	lost         int // shards; of one that can be read
	missingBytes uint64
}

// NewCounter returns a Counter that remembers nothing yet. Without live it takes every chunk for one that is needed.
func NewCounter(cluster Cluster, live Liveness) *Counter {
	return &Counter{cluster: cluster, live: live}
}

// inventory is what a drive has of all partitions.
type inventory struct {
	id      placement.DriveID
	peer    Peer // nil: it is down
	digests []shardstore.Digest
}

const (
	askAtOnce  = 16 // drives
	listAtOnce = 4  // partitions
	// maxDoubts bounds the chunks about which the metadata is asked: where there are more, drives are away. Then it is
	// asked about those that cannot be read, and where these are more, too, about none.
	maxDoubts = 10_000
)

// Count counts everything. When ctx ends it fails, but what it has counted until then makes the next call shorter.
func (c *Counter) Count(ctx context.Context) (Redundancy, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := Redundancy{Lost: make([]uint64, 1)}
	m := c.cluster.Map()
	if m == nil {
		return total, nil
	}
	if len(c.known) != m.Partitions {
		c.known = make([]countedPartition, m.Partitions)
	}
	drives := takeInventory(ctx, c.cluster, m)
	var listing errgroup.Group
	listing.SetLimit(listAtOnce)
	for p := range uint32(m.Partitions) {
		signature := signatureOf(p, drives)
		if c.known[p].count != nil && c.known[p].signature == signature {
			continue
		}
		if count, ok := countWhole(m, p, drives); ok {
			c.known[p] = countedPartition{signature: signature, count: count}
			continue
		}
		listing.Go(func() error {
			count, lacking, sure, err := countListed(ctx, p, drives)
			c.known[p] = countedPartition{signature, count, lacking}
			if !sure {
				c.known[p].signature++ // so that it is counted anew
			}
			return err
		})
	}
	if err := listing.Wait(); err != nil {
		return total, err
	}
	for p := range c.known {
		total.join(c.known[p].count)
	}
	c.forgive(ctx, &total)
	return total, ctx.Err()
}

// forgive finds out which of the chunks that lack shards nobody wants. If the metadata cannot be asked, all count as needed.
func (c *Counter) forgive(ctx context.Context, total *Redundancy) {
	if c.live == nil {
		return
	}
	doubts := c.doubts(func(lacking) bool { return true })
	if len(doubts) > maxDoubts {
		doubts = c.doubts(func(l lacking) bool { return l.live < l.k })
	}
	if len(doubts) == 0 || len(doubts) > maxDoubts {
		return
	}
	blobs := make([]placement.BlobID, len(doubts))
	for i, l := range doubts {
		blobs[i] = l.blob
	}
	live, err := c.live.BlobsLive(ctx, blobs)
	if err != nil {
		return
	}
	for i, needed := range live {
		if !needed {
			total.forget(doubts[i])
		}
	}
}

// doubts are the chunks of a kind that lack shards.
func (c *Counter) doubts(kind func(lacking) bool) (all []lacking) {
	for p := range c.known {
		for _, l := range c.known[p].lacking {
			if kind(l) {
				all = append(all, l)
			}
		}
	}
	return all
}

// forget counts a chunk as one that nobody wants.
func (r *Redundancy) forget(l lacking) {
	r.Abandoned++
	if l.live < l.k {
		r.Unreadable--
		return
	}
	r.Lost[l.lost]--
	r.Live[l.live]--
	r.MissingBytes -= l.missingBytes
	if l.live == l.k {
		r.AtRisk--
	}
}

// takeInventory asks all drives that are up. One that fails counts as down.
func takeInventory(ctx context.Context, cluster Cluster, m *placement.Map) []inventory {
	drives := make([]inventory, len(m.Drives))
	var asking errgroup.Group
	asking.SetLimit(askAtOnce)
	for i, d := range m.Drives {
		asking.Go(func() error {
			drives[i].id = d.ID
			peer := cluster.Peer(d.ID)
			if peer == nil {
				return nil
			}
			if digests, err := Digests(ctx, peer, allPartitions(m.Partitions)); err == nil {
				drives[i].peer, drives[i].digests = peer, digests
			}
			return nil
		})
	}
	_ = asking.Wait() // no error is returned
	return drives
}

// signatureOf sums up what all drives have of a partition.
func signatureOf(p uint32, drives []inventory) uint64 {
	var h xxh3.Hasher
	var b [24]byte
	for i := range drives {
		if drives[i].peer == nil || drives[i].digests[p].Count == 0 {
			continue
		}
		copy(b[:], drives[i].id[:])
		binary.LittleEndian.PutUint64(b[16:], drives[i].digests[p].Shards)
		_, _ = h.Write(b[:]) // never fails
	}
	return h.Sum64()
}

// countWhole is for a partition of which all homes have the same chunks, each its own shard of them, and nobody else
// has anything.
func countWhole(m *placement.Map, p uint32, drives []inventory) (*Redundancy, bool) {
	homes := m.Homes(p)
	var digest shardstore.Digest
	found := 0
	for i := range drives {
		slot := slices.Index(homes, drives[i].id)
		switch {
		case drives[i].peer == nil && slot >= 0:
			return nil, false
		case drives[i].peer == nil || slot < 0 && drives[i].digests[p].Count == 0:
			continue
		case slot < 0 || !drives[i].digests[p].OnlyIndex(slot) || found > 0 && !drives[i].digests[p].SameChunks(digest):
			return nil, false
		}
		digest = drives[i].digests[p]
		found++
	}
	if found < len(homes) {
		return nil, false // a slot is vacant
	}
	r := &Redundancy{Chunks: digest.Count, Bytes: digest.Bytes, Lost: []uint64{digest.Count}, Live: make([]uint64, len(homes)+1)}
	r.Live[len(homes)] = digest.Count
	if m.M == 0 {
		r.AtRisk = digest.Count
	}
	return r, true
}

// countListed goes through the lists of a partition. It is not sure if a drive failed meanwhile.
func countListed(ctx context.Context, p uint32, drives []inventory) (count *Redundancy, all []lacking, sure bool, err error) {
	count = &Redundancy{}
	var cursors []*cursor
	for _, d := range drives {
		if d.peer != nil && d.digests[p].Count > 0 {
			cursors = append(cursors, &cursor{peer: d.peer, drive: d.id, partition: p})
		}
	}
	var holdings []holding
	for {
		if holdings, err = next(ctx, cursors, holdings[:0]); err != nil {
			return nil, nil, false, err
		}
		if len(holdings) == 0 {
			return count, all, !slices.ContainsFunc(cursors, func(c *cursor) bool { return c.failed }), nil
		}
		if l := count.add(holdings); l.live < l.k || l.lost > 0 {
			all = append(all, l)
		}
	}
}

// add counts a chunk, and says what it lacks.
func (r *Redundancy) add(holdings []holding) lacking {
	c, holdings := agreed(holdings)
	l := lacking{blob: holdings[0].info.ID.Blob, k: int(c.k), live: distinct(holdings, c)}
	r.Chunks++
	r.Bytes += uint64(c.chunkSize)
	if l.live < l.k {
		r.Unreadable++
		return l
	}
	l.lost = min(max(0, c.shards()-l.live), erasure.MaxShards)
	l.missingBytes = uint64(l.lost) * uint64(holdings[0].info.Size)
	r.Lost = addAt(r.Lost, l.lost, 1)
	r.Live = addAt(r.Live, l.live, 1)
	r.MissingBytes += l.missingBytes
	if l.live == l.k {
		r.AtRisk++
	}
	return l
}

// join adds what was counted elsewhere.
func (r *Redundancy) join(o *Redundancy) {
	r.Chunks += o.Chunks
	r.Bytes += o.Bytes
	r.AtRisk += o.AtRisk
	r.Unreadable += o.Unreadable
	r.Abandoned += o.Abandoned
	r.MissingBytes += o.MissingBytes
	for i, n := range o.Lost {
		r.Lost = addAt(r.Lost, i, n)
	}
	for i, n := range o.Live {
		r.Live = addAt(r.Live, i, n)
	}
}

// addAt adds n to the i-th number, which may have to be made.
func addAt(list []uint64, i int, n uint64) []uint64 {
	for len(list) <= i {
		list = append(list, 0)
	}
	list[i] += n
	return list
}
