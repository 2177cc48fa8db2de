// Package storagenode makes the drives of a cluster match its ring: one
// Reconciler per drive pulls the shards that the drive should hold and does not,
// and drops what it need not hold any more; one Scrubber per drive reads
// everything from time to time. A Fence keeps out writes of who may be out of date. A
// Counter tells how many shards the chunks have.
//
// It must not know buckets, object keys, or which chunks are still wanted: it
// rebuilds what has shards, and deletes nothing but copies. Nor how drives of other processes are
// reached: that is shardrpc.
package storagenode
