// Package membership decides who is in the cluster: how processes find each other and found a cluster, heartbeats
// with leases, which drives and nodes are up, down or out, and what the cluster map learns from that. The decisions are pure
// (founding.go, table.go, changes.go); the Coordinator runs beside the leader of metadata group 0, the Agent in every process.
//
// It must not know what a shard or an object is.
package membership
