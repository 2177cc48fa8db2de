// Package raftnet carries the messages of the raft host of this process to those
// of others: one connection, one queue and one goroutine per peer, what is queued
// while one frame is written going out as the next. It streams snapshots, and notices
// at once when the process of a peer is gone while its machine is not.
//
// It must not know what a group or a command is, nor who is a member: addresses come from its caller.
package raftnet
