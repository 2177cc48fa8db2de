// Package lsm is an ordered map of byte strings on one directory: atomic batches,
// snapshots, checksummed tables. It has no log of its own: what was applied since the last
// Flush is lost by a crash, always as a suffix of what was applied, and its user
// (a Raft state machine) applies it again.
//
// Files are read with pread into memory and verified there, never mapped, so that a damaged, truncated or
// vanished file is an error and never a missing key, a signal or an exit.
//
// It must not know what its keys and values mean.
package lsm
