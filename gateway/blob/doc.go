// Package blob is the data path: it cuts the bytes of a blob into chunks, codes
// and places them, writes them with quorum and substitutes, and reads them back,
// hedged and reconstructed where a shard is slow, missing or corrupt. It also
// removes what nothing refers to any more.
//
// It must not know HTTP, S3, buckets or keys.
package blob
