// Package admin is what an operator asks of a cluster and what it answers: the
// state with the next step for all that is bad, plans of changes and the changes,
// orders to all drives, and why an object is as it is. What is decided is decided
// by pure functions over values; Server collects those values in the process that
// coordinates the cluster, Client finds that process, and the tables are for people.
//
// It must not know how a command line is read, nor how a process of the cluster is put together.
package admin
