// Package erasure cuts a chunk into k data shards and computes m parity
// shards, and gets back what was lost from any k of them. It owns the chunk
// geometry and the codes.
//
// It is pure: no I/O, no clock, no logger; it must not know where a shard
// lives or what its bytes mean.
package erasure
