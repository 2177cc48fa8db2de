// Package audit reads what is on drives without the store that wrote it: no index, no hints, no lock; it
// changes nothing, and the stores may be at work meanwhile. It decodes the segments by the drawing in
// shardstore/format.go, with code of its own, verifies every checksum, and tells how many shards of each
// chunk are healthy. So it can testify against the store, and against what the cluster says of itself.
//
// It must not know the ring, nor which chunks are still wanted.
package audit
