package storagenode

import (
	"context"
	"sync"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// census remembers for a moment what the drives have of all partitions, so that a
// thousand partitions cost one call to each drive and not a thousand.
type census struct {
	mu    sync.Mutex // guards takes
	takes map[placement.DriveID]*take
}

// take is what one drive has said.
type take struct {
	turn    chan struct{} // holds a token while the drive is asked, so that it is asked once; it guards the rest
	peer    Peer
	at      time.Time
	digests []shardstore.Digest
	err     error
}

const (
	// compareAge is how old an answer may be when contents are compared by it: who wants a comparison because of
	// a change has all answers forgotten first.
	compareAge = time.Second
	// surveyAge is how old it may be when it is used to leave drives out of a survey: a copy that
	// is missed so costs more bytes to read, and nothing else.
	surveyAge = 5 * time.Second
	failedAge = time.Second // after which a drive that did not answer is asked again
)

func newCensus() *census { return &census{takes: map[placement.DriveID]*take{}} }

// forget makes all answers count as old: something happened that they may not tell of.
func (c *census) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.takes)
}

// digest returns what the drive had of a partition not longer ago than age.
func (c *census) digest(ctx context.Context, id placement.DriveID, peer Peer, partitions int, partition uint32, age time.Duration) (shardstore.Digest, error) {
	c.mu.Lock()
	t := c.takes[id]
	if t == nil {
		t = &take{turn: make(chan struct{}, 1)}
		c.takes[id] = t
	}
	c.mu.Unlock()
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return shardstore.Digest{}, ctx.Err()
	}
	if t.err != nil {
		age = failedAge
	}
	if t.peer != peer || len(t.digests) != partitions && t.err == nil || time.Since(t.at) > age {
		t.peer, t.at = peer, time.Now()
		t.digests, t.err = Digests(ctx, peer, allPartitions(partitions))
	}
	if t.err != nil {
		if ctx.Err() != nil {
			t.peer = nil // it is not the drive's fault
		}
		return shardstore.Digest{}, t.err
	}
	return t.digests[partition], nil
}

func allPartitions(n int) []uint32 {
	list := make([]uint32, n)
	for i := range list {
		list[i] = uint32(i)
	}
	return list
}
