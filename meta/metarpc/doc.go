// Package metarpc brings the calls of a metadata client to the replica that can answer them: the
// encoding of proposals, queries, results and errors, a server over the one replica of a process, and a
// meta.Consensus that finds the leader of each group, follows elections and survives replicas that fall silent.
//
// It must not know what a command does, how replicas agree, or who is a member: a Local answers, a Directory
// tells where the others are.
package metarpc
