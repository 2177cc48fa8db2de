// Package replica keeps the replicas of all metadata groups on the drives of one
// process: which drives have one, births, replacements, the survivors' way on
// when a quorum is gone but no data is, and the way from a call to the leader.
//
// A drive has one replica of every group: a host. The hosts talk through memory.
// It must not know what a command or query means, nor anything of shards.
package replica
