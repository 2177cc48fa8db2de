// Package raftgroup replicates the commands of many Raft groups between hosts:
// one loop, one log and one fsync for all groups of a host (a drive, or a node).
// It owns the log's format, elections, membership changes and snapshots.
//
// It must not know what a command means: a Machine executes them.
//
// The loop (loop.go) takes what came in, lets raft work, sends the leader's messages, writes everything of all groups
// as one batch with one fdatasync (log.go), and only then answers votes and appends and gives what is committed to
// the committer (committer.go), which executes it. Reads (read.go) take no turn in the loop
// where the transport is in the same process. A host never waits for one that is gone, never syncs twice
// after an error, and never goes on with a log that may have lost what it acknowledged: it fails, and is
// replaced by one with another id.
package raftgroup
