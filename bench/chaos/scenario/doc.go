// Package scenario is the language in which a run is described: the cluster, the load, and the schedule of faults. It parses
// it, and lists the scenarios that come with the program.
//
// It must not know how a fault is made nor what a cluster consists of beyond the roles of its nodes.
package scenario
