package storagenode

import (
	"math"
	"slices"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// chunkID names a chunk of a blob.
type chunkID struct {
	blob  placement.BlobID
	chunk uint32
}

func chunkOf(id placement.ShardID) chunkID { return chunkID{id.Blob, id.Chunk} }

func (c chunkID) shard(i int) placement.ShardID {
	return placement.ShardID{Blob: c.blob, Chunk: c.chunk, Index: uint8(i)}
}

// holding says that a drive has a healthy shard.
type holding struct {
	drive placement.DriveID
	info  shardstore.Info
}

// copyOf is a shard on a drive that is not its home.
type copyOf struct {
	drive placement.DriveID
	shard placement.ShardID
}

// code is what all shards of a chunk must agree on.
type code struct {
	k, m      uint8
	chunkSize uint32
}

func codeOf(i shardstore.Info) code { return code{i.K, i.M, i.ChunkSize} }

// shards is the number of shards of the chunk.
func (c code) shards() int { return int(c.k) + int(c.m) }

// agreed returns the code that most of the different shards have, and the
// holdings that have it. There is only one unless something went badly wrong.
func agreed(holdings []holding) (code, []holding) {
	first := codeOf(holdings[0].info)
	if !slices.ContainsFunc(holdings, func(h holding) bool { return codeOf(h.info) != first }) {
		return first, holdings
	}
	var best code
	most := 0
	for _, h := range holdings {
		if n := distinct(holdings, codeOf(h.info)); n > most {
			best, most = codeOf(h.info), n
		}
	}
	return best, slices.DeleteFunc(slices.Clone(holdings), func(h holding) bool { return codeOf(h.info) != best })
}

// distinct counts the different shards of one code.
func distinct(holdings []holding, c code) int {
	var seen [256]bool
	n := 0
	for _, h := range holdings {
		if codeOf(h.info) == c && !seen[h.info.ID.Index] {
			seen[h.info.ID.Index] = true
			n++
		}
	}
	return n
}

// verdict is what one chunk's holdings mean to one drive.
type verdict struct {
	missing bool                // the drive is home to one of its shards and does not have it
	intact  bool                // it is the only home that lacks its shard
	remains bool                // the drive holds what other homes lack: perhaps of a chunk that was deleted
	spare   int                 // different shards beyond those needed to read it; negative: too few
	code    code                // of the chunk
	bytes   int64               // size of a shard
	lacking []placement.ShardID // shards that their homes, any homes, have not got though they could
	surplus []copyOf            // on other drives than their homes, which all have theirs
	written int64               // when its oldest shard was, in Unix seconds: later ones may come from repairs
}

// judge decides about one chunk. homes are those of its partition, moving tells
// whether a transition of it is open, me is the drive that asks.
func judge(homes []placement.DriveID, moving bool, me placement.DriveID, holdings []holding) verdict {
	c, holdings := agreed(holdings)
	live := distinct(holdings, c)
	v := verdict{spare: live - int(c.k), code: c, intact: len(homes) >= c.shards(), written: math.MaxInt64}
	for _, h := range holdings {
		v.bytes, v.written = h.info.Size, min(v.written, h.info.Written)
	}
	whole := true
	for i, home := range homes[:min(len(homes), c.shards())] {
		if has(holdings, home, i) && !home.IsZero() {
			continue
		}
		v.intact = v.intact && home == me
		if home.IsZero() {
			continue
		}
		whole = false
		v.missing = v.missing || home == me
		if v.spare >= 0 || has(holdings, placement.DriveID{}, i) {
			v.lacking = append(v.lacking, chunkOf(holdings[0].info.ID).shard(i))
		}
	}
	v.intact = v.intact && v.missing
	v.remains = !whole && slices.ContainsFunc(holdings, func(h holding) bool { return h.drive == me })
	if moving || !whole {
		return v
	}
	for _, h := range holdings {
		i := int(h.info.ID.Index)
		if i < len(homes) && !homes[i].IsZero() && homes[i] != h.drive {
			v.surplus = append(v.surplus, copyOf{h.drive, h.info.ID})
		}
	}
	return v
}

// has tells whether a drive, or with a zero id any drive, holds shard i.
func has(holdings []holding, drive placement.DriveID, i int) bool {
	return slices.ContainsFunc(holdings, func(h holding) bool {
		return int(h.info.ID.Index) == i && (drive.IsZero() || h.drive == drive)
	})
}
