// Package chaos runs the node-kill benchmark: it starts a cluster or takes one that runs, keeps it under load, breaks it by a
// schedule that follows from a seed, asks the oracles, and writes down what happened.
//
// It must not know how the store works inside. It speaks S3, ends and starts processes, and asks the
// program's own commands, as an operator would.
package chaos
