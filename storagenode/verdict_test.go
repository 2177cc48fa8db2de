package storagenode

import (
	"slices"
	"testing"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

var testChunk = chunkID{placement.BlobID{0xb1}, 7}

func driveID(i int) placement.DriveID { return placement.DriveID{0xd0, byte(i), 15: 1} }

// holds makes holdings of testChunk: pairs of drive and shard.
func holds(k, m uint8, pairs ...int) (holdings []holding) {
	for i := 0; i < len(pairs); i += 2 {
		holdings = append(holdings, holding{driveID(pairs[i]), shardstore.Info{
			Header: shardstore.Header{ID: testChunk.shard(pairs[i+1]), K: k, M: m, ChunkSize: 1000}, Size: 512, Written: int64(100 + i),
		}})
	}
	return holdings
}

func TestJudge(t *testing.T) {
	six := []placement.DriveID{driveID(0), driveID(1), driveID(2), driveID(3), driveID(4), driveID(5)}
	vacant := slices.Clone(six)
	vacant[5] = placement.DriveID{}
	for _, c := range []struct {
		name     string
		homes    []placement.DriveID
		moving   bool
		me       int
		holdings []holding
		missing  bool
		spare    int
		lacking  []int
		surplus  [][2]int // drive, shard
	}{
		{name: "whole", homes: six, me: 2, holdings: holds(4, 2, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5), spare: 2},
		{name: "mine is missing", homes: six, me: 2, holdings: holds(4, 2, 0, 0, 1, 1, 3, 3, 4, 4, 5, 5),
			missing: true, spare: 1, lacking: []int{2}},
		{name: "another's is missing", homes: six, me: 1, holdings: holds(4, 2, 0, 0, 1, 1, 3, 3, 4, 4, 5, 5), spare: 1, lacking: []int{2}},
		{name: "too few are left", homes: six, me: 2, holdings: holds(4, 2, 0, 0, 1, 1, 5, 5), missing: true, spare: -1},
		{name: "too few, but mine is elsewhere", homes: six, me: 2, holdings: holds(4, 2, 0, 0, 9, 2),
			missing: true, spare: -2, lacking: []int{2}},
		{name: "a copy on a substitute", homes: six, me: 2, holdings: holds(4, 2, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 9, 2),
			spare: 2, surplus: [][2]int{{9, 2}}},
		{name: "a copy while the partition moves", homes: six, moving: true, me: 2,
			holdings: holds(4, 2, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 9, 2), spare: 2},
		{name: "a copy while another home lacks its own", homes: six, me: 2,
			holdings: holds(4, 2, 0, 0, 1, 1, 2, 2, 4, 4, 5, 5, 9, 2), spare: 1, lacking: []int{3}},
		{name: "two shards on one home", homes: six, me: 5, holdings: holds(4, 2, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 2),
			spare: 2, surplus: [][2]int{{5, 2}}},
		{name: "a shard without a home stays", homes: vacant, me: 1, holdings: holds(4, 2, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 9, 5), spare: 2},
		{name: "narrow code", homes: six, me: 5, holdings: holds(2, 2, 0, 0, 1, 1, 2, 2, 3, 3), spare: 2},
		{name: "narrow code on the wrong homes", homes: six, me: 1, holdings: holds(2, 2, 0, 0, 2, 1, 3, 2, 4, 3),
			missing: true, spare: 2, lacking: []int{1, 2, 3}},
		{name: "the same shard twice counts once", homes: six, me: 2, holdings: holds(4, 2, 0, 0, 8, 0, 1, 1, 9, 1), missing: true, spare: -2},
		{name: "a code that does not belong", homes: six, me: 2,
			holdings: append(holds(4, 2, 0, 0, 1, 1, 3, 3, 4, 4, 5, 5), holds(2, 1, 2, 2)...), missing: true, spare: 1, lacking: []int{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := judge(c.homes, c.moving, driveID(c.me), c.holdings)
			var lacking []int
			for _, id := range v.lacking {
				lacking = append(lacking, int(id.Index))
			}
			var surplus [][2]int
			for _, x := range v.surplus {
				surplus = append(surplus, [2]int{int(x.drive[1]), int(x.shard.Index)})
			}
			if v.missing != c.missing || v.spare != c.spare || !slices.Equal(lacking, c.lacking) || !slices.Equal(surplus, c.surplus) {
				t.Errorf("got missing %v, spare %d, lacking %v, surplus %v", v.missing, v.spare, lacking, surplus)
			}
		})
	}
}
