// Package simnet is a network of named hosts within one process, for tests: it owns connections that behave as TCP's
// do, and their faults: slow, lossy and cut links, hosts that are killed, stopped or lose their power.
//
// It must not know what is said on it. Delays come from a seed, for each link its own sequence. All waiting is on channels and timers,
// so that it runs within testing/synctest, in virtual time, and outside of it.
package simnet
