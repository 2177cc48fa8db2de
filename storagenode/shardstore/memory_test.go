package shardstore_test

import (
	"testing"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

func TestMemory(t *testing.T) {
	shardtest.Run(t, func(*testing.T) shardtest.Store { return shardstore.NewMemory() })
}

func TestMemoryMisbehaves(t *testing.T) {
	m := shardstore.NewMemory()
	h := shardtest.Header(1)
	shardtest.Put(t, m, h, 100)
	m.Damage(h.ID)
	shardtest.WantError(t, m.ReadAt(t.Context(), h.ID, make([]byte, 1), 0), shardstore.ErrCorrupt)
	var reported []placement.ShardID
	if err := m.Scrub(t.Context(), 0, func(id placement.ShardID, _ error) { reported = append(reported, id) }); err != nil || len(reported) != 1 {
		t.Fatalf("Scrub reported %v, %v", reported, err)
	}
	shardtest.Put(t, m, h, 100)
	shardtest.Want(t, m, h.ID, 100)
	m.SetFull(true)
	shardtest.WantError(t, m.Put(t.Context(), shardtest.Header(2), nil), shardstore.ErrFull)
	m.Fail()
	<-m.Failed()
	shardtest.WantError(t, m.ReadAt(t.Context(), h.ID, make([]byte, 1), 0), shardstore.ErrFailed)
}
