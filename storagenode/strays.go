package storagenode

import (
	"context"
	"slices"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// Strays are shards on a drive that is not their home. A writer that did not wait for the home leaves one, and so does a
// write that arrives when its writer is long gone. No change of the map points to them, and who deletes the chunk does not know
// of them: the drive itself must look.

// A drive looks for strays after strayInterval, and twice as long after that while it finds the same.
const (
	strayInterval    = 30 * time.Second
	maxStrayInterval = 30 * time.Minute
)

// strayed: the drive has shards of these partitions that do not belong there.
type strayed struct{ partitions []uint32 }

// findStrays returns the partitions of which the drive has other shards than its own, but for those of open transitions.
func findStrays(m *placement.Map, me placement.DriveID, digests []shardstore.Digest) []uint32 {
	var found []uint32
	for p, d := range digests {
		if d.Count == 0 || m.Previous(uint32(p)) != nil {
			continue
		}
		if slot := slices.Index(m.Homes(uint32(p)), me); slot < 0 || !d.OnlyIndex(slot) {
			found = append(found, uint32(p))
		}
	}
	return found
}

// strayWatch says when to look, and remembers what was found.
type strayWatch struct {
	at    time.Time
	pause time.Duration
	last  []uint32
}

// look returns the partitions in which there may be something to clear away, none most of the time.
func (w *strayWatch) look(ctx context.Context, now time.Time, m *placement.Map, me placement.DriveID, local Peer) []uint32 {
	if w.at.IsZero() {
		w.at = now.Add(strayInterval)
	}
	if now.Before(w.at) {
		return nil
	}
	digests, err := Digests(ctx, local, allPartitions(m.Partitions))
	if err != nil {
		return nil // whatever is wrong with the drive shows elsewhere
	}
	found := findStrays(m, me, digests)
	if len(found) == 0 || !slices.Equal(found, w.last) {
		w.pause = strayInterval
	} else {
		w.pause = min(2*w.pause, maxStrayInterval)
	}
	w.last, w.at = found, now.Add(w.pause)
	return found
}
