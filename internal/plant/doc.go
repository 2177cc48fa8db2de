// Package plant names the bugs that the chaos benchmark must be able to find. They are only in binaries built
// with the tag chaosbugs, one at a time, chosen by KINTSUGI_PLANT; in all others Is is constant and nothing
// of them is left.
//
// It must not know how a bug shows.
package plant

import "time"

// Bug is one that can be planted.
type Bug string

const (
	AckBeforeSync Bug = "ack-before-sync" // a shard is acknowledged before it is written
	AckTooFew     Bug = "ack-too-few"     // a chunk counts with k-1 shards, and no more are written
	StaleRead     Bug = "stale-read"      // a linearizable read is answered by any replica, some time ago
	NotFoundLie   Bug = "not-found-lie"   // what cannot be read is reported as absent
	SwappedShards Bug = "swapped-shards"  // two shards of a chunk change their numbers
	NoFencing     Bug = "no-fencing"      // a storage node takes writes without a lease and under any map
)

// SyncDelay is how late a shard is written with AckBeforeSync: what a machine that loses power would have lost.
const SyncDelay = 2 * time.Second

// Env names the variable that chooses the bug.
const Env = "KINTSUGI_PLANT"

// All lists them.
func All() []Bug {
	return []Bug{AckBeforeSync, AckTooFew, StaleRead, NotFoundLie, SwappedShards, NoFencing}
}
