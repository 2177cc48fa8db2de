package storagenode

import (
	"context"
	"errors"
	"slices"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// survey is where the shards of one chunk are at this moment, as their drives say.
type survey struct {
	chunk     chunkID
	partition uint32
	homes     []placement.DriveID
	holdings  []holding
	tombs     []int // shards of which a tombstone was found
	unseen    bool  // a drive of the map could not be asked
	corrupt   bool  // a drive has a damaged shard
}

// surveyor asks all drives of the map.
type surveyor struct {
	cluster Cluster
	me      placement.DriveID
	local   Drive
}

// peer returns a drive, nil if it is down.
func (s surveyor) peer(id placement.DriveID) Peer {
	if id == s.me {
		return s.local
	}
	return s.cluster.Peer(id)
}

// survey asks the homes first, and for what is not there all other drives.
func (s surveyor) survey(ctx context.Context, m *placement.Map, chunk chunkID) (*survey, error) {
	v := &survey{chunk: chunk, partition: m.Partition(chunk.blob, chunk.chunk)}
	v.homes = m.Homes(v.partition)
	for i, home := range v.homes {
		if !home.IsZero() {
			s.ask(ctx, v, home, i)
		}
	}
	shards := m.Slots()
	for i := 0; i < shards; i++ {
		if len(v.holdings) > 0 {
			c, _ := agreed(v.holdings)
			shards = c.shards()
		}
		if i >= shards || has(v.holdings, placement.DriveID{}, i) {
			continue
		}
		for _, d := range m.Drives {
			if i < len(v.homes) && v.homes[i] == d.ID {
				continue
			}
			s.ask(ctx, v, d.ID, i)
		}
	}
	return v, ctx.Err()
}

// ask notes what one drive says about one shard.
func (s surveyor) ask(ctx context.Context, v *survey, drive placement.DriveID, i int) {
	peer := s.peer(drive)
	if peer == nil {
		v.unseen = true
		return
	}
	info, err := peer.Stat(ctx, v.chunk.shard(i))
	switch {
	case err == nil:
		v.holdings = append(v.holdings, holding{drive, info})
	case errors.Is(err, shardstore.ErrDeleted):
		v.tombs = append(v.tombs, i)
	case errors.Is(err, shardstore.ErrCorrupt):
		v.corrupt = true
	case !errors.Is(err, shardstore.ErrNotFound):
		v.unseen = true
	}
}

// isDeleted tells whether the chunk was deleted: a shard has a tombstone and is
// nowhere else. A tombstone of a shard that another drive has was only for a copy.
func (v *survey) isDeleted() bool {
	return slices.ContainsFunc(v.tombs, func(i int) bool { return !has(v.holdings, placement.DriveID{}, i) })
}

// remove forgets a holding that could not be read.
func (v *survey) remove(drive placement.DriveID, i int) {
	v.holdings = slices.DeleteFunc(v.holdings, func(h holding) bool {
		return h.drive == drive && int(h.info.ID.Index) == i
	})
}

// sources returns one holding of each shard, homes first, but for shard except.
func (v *survey) sources(except int) []holding {
	_, holdings := agreed(v.holdings)
	var sources []holding
	for _, h := range holdings {
		i := int(h.info.ID.Index)
		if i != except && !slices.ContainsFunc(sources, func(s holding) bool { return s.info.ID.Index == h.info.ID.Index }) {
			sources = append(sources, h)
		}
	}
	return sources
}
