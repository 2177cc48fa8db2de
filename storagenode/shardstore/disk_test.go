package shardstore_test

import (
	"testing"

	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

func TestDisk(t *testing.T) {
	shardtest.Run(t, func(t *testing.T) shardtest.Store {
		s, err := shardstore.Open(t.TempDir(), shardstore.Config{SegmentSize: 4 << 20, GrowBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
