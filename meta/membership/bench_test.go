package membership

import (
	"fmt"
	"testing"
	"time"

	"kintsugi/placement"
)

// BenchmarkBeat is what a coordinator does for a beat without news, besides holding it.
func BenchmarkBeat(b *testing.B) {
	beat := beatOf("n0", 0, 1, 2, 3)
	table := NewTable(time.Now(), testTiming, mapOf(b, 4, 2, 9), nil, 0)
	head := encode(beat)
	answer := &Answer{Format: Format, Lease: 4000, Epoch: 7, Table: 8, Founding: sampleFounding()}
	b.ReportAllocs()
	for b.Loop() {
		got := new(Beat)
		if err := decode(head, got); err != nil {
			b.Fatal(err)
		}
		table.Beat(time.Now(), got)
		encode(answer)
	}
}

// BenchmarkStep is what a coordinator decides ten times a second in a cluster of 100 nodes, two of which are down.
func BenchmarkStep(b *testing.B) {
	var drives []placement.Drive
	now := time.Now()
	for i := range 100 {
		drives = append(drives, placement.Drive{ID: driveID(i), Node: fmt.Sprint("n", i), Weight: DefaultWeight})
	}
	m, err := placement.Birth(placement.ClusterID{1}, 4096, 8, 4, drives)
	if err != nil {
		b.Fatal(err)
	}
	table := NewTable(now, testTiming, m, nil, 0)
	for _, beat := range nodes(98) {
		table.Beat(now, beat)
	}
	now = now.Add(time.Second)
	b.ReportAllocs()
	for b.Loop() {
		table.Tick(now)
		if changes := NextChanges(m, table, now, Policy{}); len(changes) > 0 {
			b.Fatal(describe(changes))
		}
	}
}
