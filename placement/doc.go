// Package placement decides which drive keeps which shard: the identities, the
// hash from chunk to partition, the ring, the cluster map with its epochs, and
// the solver that makes the next ring with the least movement.
//
// It is pure: values in, values out. It does no I/O, keeps no clock and no
// logger, and must not know buckets, keys or how a shard is stored.
package placement
