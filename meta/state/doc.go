// Package state is the state machine of the metadata groups: it executes the
// commands and queries of package meta on one database (package lsm) per drive, which keeps
// all groups of the drive's replica. Execution is deterministic: time comes
// with the command, order from the Raft index.
//
// It must not know how commands get their order or who asks: that is package raftgroup's
// and the caller's business. What it has and cannot trust makes it fail as a whole,
// so that the replica is built anew from its peers; a record is never silently absent.
package state
