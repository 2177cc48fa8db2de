// Package metatest makes a metadata client whose groups are state machines without Raft
// between: for tests of what is built on package meta.
package metatest

import (
	"context"
	"sync"
	"testing"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state"
)

// Groups is the number of groups of New.
const Groups = 4

// New returns a client of Groups groups in a temporary directory, which end with the test.
func New(t testing.TB) *meta.Client {
	t.Helper()
	return meta.NewClient(NewDirect(t, Groups))
}

// Empty removes all that tests have left behind a client, but for the cluster map.
func Empty(t testing.TB, c *meta.Client) {
	t.Helper()
	ctx := context.Background() // that of the test is over
	buckets, _, err := c.Buckets(ctx, "", "", 1000)
	must(t, err)
	for _, b := range buckets {
		for page := (meta.VersionListing{Truncated: true}); page.Truncated; {
			page, err = c.Versions(ctx, meta.ListVersions{Bucket: b.Name, Max: 1000})
			must(t, err)
			var dels []meta.DeleteObject
			for i := range page.Versions {
				dels = append(dels, meta.DeleteObject{Bucket: b.Name, Key: page.Versions[i].Key, Version: &page.Versions[i].ID})
			}
			_, err = c.DeleteObjects(ctx, b.Name, dels)
			must(t, err)
		}
		must(t, c.DeleteBucket(ctx, b.Name))
	}
	for group := range c.Groups() {
		for {
			queue, err := c.Garbage(ctx, group, 1000)
			must(t, err)
			if len(queue) == 0 {
				break
			}
			var sequences []uint64
			for _, g := range queue {
				sequences = append(sequences, g.Sequence)
			}
			must(t, c.Forget(ctx, group, sequences))
		}
	}
}

// Direct is a meta.Consensus that hands commands straight to a state machine.
type Direct struct {
	machine *state.Machine
	groups  int

	mu    sync.Mutex // the machine executes one command after the other
	index []uint64   // by group
}

// NewDirect returns the consensus of so many groups in a temporary directory, which end with the test.
func NewDirect(t testing.TB, groups int) *Direct {
	t.Helper()
	machine, err := state.Open(t.TempDir(), state.Config{})
	must(t, err)
	t.Cleanup(func() {
		if err := machine.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Direct{machine: machine, groups: groups, index: make([]uint64, groups)}
}

// Groups implements meta.Consensus.
func (d *Direct) Groups() int { return d.groups }

// Propose implements meta.Consensus.
func (d *Direct) Propose(ctx context.Context, group int, cmd []byte) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index[group]++
	results, err := d.machine.Apply([]raftgroup.Entry{
		{Group: uint32(group), Index: d.index[group], Term: 1, Data: cmd},
	})
	if err != nil {
		return nil, err
	}
	if err, ok := results[0].(error); ok {
		return nil, err
	}
	return results[0], nil
}

// Query implements meta.Consensus.
func (d *Direct) Query(ctx context.Context, group int, q any, _ meta.Consistency) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return d.machine.Query(uint32(group), q)
}
