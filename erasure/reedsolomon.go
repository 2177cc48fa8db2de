package erasure

import (
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/reedsolomon"
)

// reedSolomon is the classic systematic code: any K of the K+M shards give all
// others. Its matrix is a Vandermonde matrix times the inverse of its upper square, over
// GF(2^8) with polynomial 0x11d; golden vectors in the tests pin it.
type reedSolomon struct {
	params  Params
	encoder reedsolomon.Encoder
}

func newReedSolomon(p Params) (*reedSolomon, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	// One goroutine per chunk: requests are many, and splitting one costs CPU.
	encoder, err := reedsolomon.New(p.K, p.M, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrParams, p, err)
	}
	return &reedSolomon{params: p, encoder: encoder}, nil
}

func (r *reedSolomon) Params() Params { return r.params }

func (r *reedSolomon) SubChunks() int { return 1 }

func (r *reedSolomon) Encode(shards [][]byte) error {
	if len(shards) != r.params.Shards() {
		return ErrShardSize
	}
	for _, s := range shards {
		if len(s) != len(shards[0]) {
			return ErrShardSize
		}
	}
	switch {
	case len(shards[0]) == 0 || r.params.M == 0:
		return nil
	case r.params.K == 1: // every row of the matrix is 1
		for _, parity := range shards[1:] {
			copy(parity, shards[0])
		}
		return nil
	}
	return translate(r.encoder.Encode(shards))
}

func (r *reedSolomon) Reconstruct(shards [][]byte, need []int) error {
	if len(shards) != r.params.Shards() {
		return ErrShardSize
	}
	required := make([]bool, len(shards))
	for _, i := range need {
		if i < 0 || i >= len(shards) {
			return ErrShardSize
		}
		required[i] = true
	}
	return translate(r.encoder.ReconstructSome(shards, required))
}

func (r *reedSolomon) RepairPlan(lost, available []int) ([]Range, error) {
	plan := make([]Range, 0, r.params.K)
	var seen [MaxShards]bool
	for _, i := range lost {
		if i < 0 || i >= r.params.Shards() {
			return nil, ErrShardSize
		}
		seen[i] = true
	}
	for _, i := range available {
		if len(plan) == r.params.K {
			break
		}
		if i < 0 || i >= r.params.Shards() {
			return nil, ErrShardSize
		}
		if !seen[i] {
			seen[i] = true
			plan = append(plan, Range{Shard: i, Count: 1})
		}
	}
	if len(plan) < r.params.K {
		return nil, fmt.Errorf("%w: %d of the %d needed", ErrTooFewShards, len(plan), r.params.K)
	}
	return plan, nil
}

func (r *reedSolomon) Repair(lost []int, plan []Range, pieces, out [][]byte) error {
	if len(lost) != len(out) || len(plan) != len(pieces) {
		return ErrShardSize
	}
	shards := make([][]byte, r.params.Shards())
	for i, piece := range plan {
		if piece.Shard < 0 || piece.Shard >= len(shards) || slices.Contains(lost, piece.Shard) {
			return ErrShardSize
		}
		shards[piece.Shard] = pieces[i]
	}
	for j, i := range lost {
		if i < 0 || i >= len(shards) || len(pieces) == 0 || len(out[j]) != len(pieces[0]) {
			return ErrShardSize
		}
		shards[i] = out[j][:0:len(out[j])]
	}
	return r.Reconstruct(shards, lost)
}

// translate gives the library's errors the names of this package.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, reedsolomon.ErrTooFewShards):
		return ErrTooFewShards
	default:
		return fmt.Errorf("%w: %w", ErrShardSize, err)
	}
}
