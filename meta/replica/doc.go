// Package replica keeps the replicas of all metadata groups on the drives of a
// process: which drives have one, births, replacements, who votes and who leads.
//
// A drive has one replica of every group: a host. A Set has the hosts of the only process
// there is: they talk through memory, the survivors may go on where a quorum is gone but no data is, and the Set
// finds the way from a call to the leader. A Member is the one host of a process of a cluster: it
// serves calls only where it leads, and what it leads it keeps staffed.
// It must not know what a command or query means, nor anything of shards.
package replica
