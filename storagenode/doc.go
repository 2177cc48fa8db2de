// Package storagenode makes the drives of a cluster match its ring: one
// Reconciler per drive pulls the shards that the drive should hold and does not,
// and drops what it need not hold any more; one Scrubber per drive reads
// everything from time to time. Redundancy counts what is there.
//
// It must not know buckets, object keys, or which chunks are still wanted: it
// rebuilds what has shards, and deletes nothing but copies.
package storagenode
