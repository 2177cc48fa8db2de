// Package raftgroup replicates the commands of many Raft groups between hosts:
// one loop, one log and one fsync for all groups of a host (a drive, or a node).
// It owns the log's format, elections, membership changes and snapshots.
//
// It must not know what a command means: a Machine executes them.
package raftgroup
