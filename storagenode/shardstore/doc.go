// Package shardstore keeps shards on one drive: append-only segments with
// group commit, an index that can be rebuilt from them, recovery, compaction
// and scrub. It returns exactly the bytes that were written, or an error.
//
// It must not know buckets, keys, the ring or what the other drives hold.
package shardstore
