package placement

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/zeebo/xxh3"
)

func compareIDs(a, b DriveID) int { return bytes.Compare(a[:], b[:]) }

// Ranking lists every drive that takes writes in the order in which the chunks
// of a partition try them: its homes by slot, then substitutes. Substitutes on
// nodes that hold fewer of the homes come first, and among those the order is by
// weighted rendezvous hashing, so that each partition has its own and a lost
// drive's writes spread over all others.
func (m *Map) Ranking(partition uint32) []DriveID {
	ranking := make([]DriveID, 0, len(m.Drives))
	onNode := make(map[nodeName]int)
	for _, id := range m.Homes(partition) {
		if d, ok := m.Drive(id); ok && d.TakesShards() {
			ranking = append(ranking, id)
			onNode[d.nodeName()]++
		}
	}
	type candidate struct {
		id     DriveID
		onNode int
		score  float64
	}
	var substitutes []candidate
	homes := len(ranking)
	for _, d := range m.Drives {
		if d.TakesShards() && !slices.Contains(ranking[:homes], d.ID) {
			substitutes = append(substitutes, candidate{d.ID, onNode[d.nodeName()], rendezvous(m.Cluster, partition, d)})
		}
	}
	slices.SortFunc(substitutes, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.onNode, b.onNode), cmp.Compare(a.score, b.score), compareIDs(a.id, b.id))
	})
	for _, s := range substitutes {
		ranking = append(ranking, s.id)
	}
	return ranking
}

// rendezvous is an exponentially distributed number with a rate of the drive's
// weight: the drive with the smallest is chosen in proportion to the weights.
// Schindelhauer, Schomaker: Weighted distributed hash tables, SPAA 2005.
func rendezvous(cluster ClusterID, partition uint32, d Drive) float64 {
	var b [36]byte
	copy(b[:], cluster[:])
	binary.BigEndian.PutUint32(b[16:], partition)
	copy(b[20:], d.ID[:])
	uniform := (float64(xxh3.Hash(b[:])>>11) + 0.5) / (1 << 53)
	return -math.Log(uniform) / float64(d.Weight)
}

type nodeName struct{ zone, node string }

func (d Drive) nodeName() nodeName { return nodeName{d.Zone, d.Node} }
