package erasure

import (
	"errors"
	"sync"
)

// Errors are matched with errors.Is.
var (
	// ErrTooFewShards: less is there than the code needs to get the lost shards back.
	ErrTooFewShards = errors.New("too few shards")
	// ErrShardSize: the shards, pieces or indexes given do not fit the code or each other.
	ErrShardSize = errors.New("shards do not fit the code")
)

// Code computes shards from other shards of the same chunk. Implementations are
// safe for concurrent use and run in the caller's goroutine.
type Code interface {
	Params() Params

	// Encode fills the M parity shards, shards[K:], from the K data shards. All
	// have the same length.
	Encode(shards [][]byte) error

	// Reconstruct fills the shards that need names, from any K that are there. A
	// shard of length 0 is missing; one that is needed gets its bytes in its own
	// capacity where that suffices. Others stay as they are. As Reed-Solomon works byte
	// by byte, the shards may also be the same range [lo, hi) of each.
	Reconstruct(shards [][]byte, need []int) error

	// SubChunks is the number of equal pieces of a shard that RepairPlan may ask
	// for on their own; shards whose size it does not divide cannot be planned.
	SubChunks() int

	// RepairPlan says what to read of the available shards, preferred first,
	// to rebuild the lost ones whole.
	RepairPlan(lost, available []int) ([]Range, error)

	// Repair rebuilds the lost shards: pieces[i] holds the bytes of plan[i],
	// out[j] has the length of a shard and receives lost[j].
	Repair(lost []int, plan []Range, pieces, out [][]byte) error
}

// Range is a run of Count sub-chunks of a shard that begins at sub-chunk First.
type Range struct {
	Shard        int
	First, Count int
}

// New returns the code with these parameters. Setting it up costs a matrix
// inversion: keep it, or get it from a Cache.
func New(p Params) (Code, error) { return newReedSolomon(p) }

// Cache keeps the codes that were asked for. The zero value is ready; it is safe
// for concurrent use.
type Cache struct {
	codes sync.Map // Params -> Code
}

// Code returns the code with these parameters.
func (c *Cache) Code(p Params) (Code, error) {
	if code, ok := c.codes.Load(p); ok {
		return code.(Code), nil
	}
	code, err := New(p)
	if err != nil {
		return nil, err
	}
	kept, _ := c.codes.LoadOrStore(p, code)
	return kept.(Code), nil
}
