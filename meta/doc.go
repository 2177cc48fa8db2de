// Package meta is what the gateway knows of metadata: the records (bucket,
// version, upload, part, blob, cluster map), the commands that change them, the
// queries that read them, and the Client that sends each to the Raft group of
// its key. Package meta/state executes them, meta/raftgroup replicates them.
//
// It must not know HTTP, S3's XML or how a blob's bytes are stored.
package meta
