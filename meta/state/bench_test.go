package state_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state"
)

// BenchmarkPut executes PUTs of 4 KiB inline bodies, batches of several sizes, with a Sync after every 8 MiB.
func BenchmarkPut(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprint("batch ", batch), func(b *testing.B) {
			d := openDriver(b, b.TempDir(), state.Config{})
			d.createBucket(0)
			body := make([]byte, 4096)
			b.SetBytes(4096)
			unsynced, n := 0, 0
			entries := make([]raftgroup.Entry, 0, batch)
			for b.Loop() {
				n++
				entries = append(entries, d.entry(0, meta.OpPutObject, putBody(fmt.Sprint("key", rand.Uint32()), body)))
				if len(entries) == batch {
					d.apply(entries...)
					entries = entries[:0]
				}
				if unsynced += len(body); unsynced >= 8<<20 {
					unsynced = 0
					if err := d.Sync(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	d := openDriver(b, b.TempDir(), state.Config{})
	d.createBucket(0)
	body := make([]byte, 4096)
	const keys = 10000
	for i := range keys {
		d.apply(d.entry(0, meta.OpPutObject, putBody(fmt.Sprint("key", i), body)))
	}
	if err := d.Sync(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(4096)
	for b.Loop() {
		if _, err := d.get(0, fmt.Sprint("key", rand.IntN(keys))); err != nil {
			b.Fatal(err)
		}
	}
}
