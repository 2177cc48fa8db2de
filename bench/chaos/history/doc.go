// Package history holds what the clients of a run did and saw: every operation with its times and its outcome, every listing,
// every answer that was wrong by itself, and what was written under which key and version.
//
// It must not know how requests are made, what breaks the cluster, or what is right: that is for the oracles.
package history
