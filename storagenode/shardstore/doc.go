// Package shardstore keeps shards on one drive: append-only segments with
// group commit, an index that is made of them, recovery, compaction and scrub. It
// returns exactly the bytes that were written, or an error.
//
// It must not know buckets, keys, the ring or what the other drives hold.
//
// The way of a write: put.go numbers it and, when it is large, writes it;
// batch.go gathers; commit.go writes the rest, syncs and answers. format.go draws
// what is on the disk; recovery.go and scan.go read it back. tidy.go, reclaim.go
// and compact.go run in the background and win dead space back.
package shardstore
