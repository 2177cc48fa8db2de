// Package sim holds tests that run parts of a cluster on a network within one process, in virtual time, under
// faults drawn from a seed: what a failure prints replays it.
//
// It must not be imported: there is nothing in it but tests.
package sim
