package lsm

import (
	"math/bits"

	"github.com/zeebo/xxh3"
)

// A filter is a Bloom filter of 10 bits and 6 probes per key: about 1 in 100 keys
// that are not there passes. Its length in bits is that of its bytes.
const (
	filterBitsPerKey = 10
	filterProbes     = 6
)

func filterHash(key []byte) uint32 { return uint32(xxh3.Hash(key)) }

func makeFilter(hashes []uint32) []byte {
	filter := make([]byte, (len(hashes)*filterBitsPerKey+7)/8+8)
	for _, h := range hashes {
		delta := bits.RotateLeft32(h, 15)
		for range filterProbes {
			bit := uint64(h) % uint64(len(filter)*8)
			filter[bit/8] |= 1 << (bit % 8)
			h += delta
		}
	}
	return filter
}

func mayContain(filter []byte, h uint32) bool {
	if len(filter) == 0 {
		return true
	}
	delta := bits.RotateLeft32(h, 15)
	for range filterProbes {
		bit := uint64(h) % uint64(len(filter)*8)
		if filter[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
		h += delta
	}
	return true
}
