// Package cluster starts a cluster of processes on this machine, breaks it by the means that an operating system has, and looks at it
// from outside: through its command line, its files, its log and /proc.
//
// It must not know what load there is or what is right. What it does to a cluster it can undo, and it ends
// only processes that it started, or that the cluster that it started did.
package cluster
