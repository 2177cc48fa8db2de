package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"kintsugi/cmd/kintsugi/admin"
)

// fill writes n objects of one size under a prefix of the bucket, which nobody touches afterwards.
func (l *clusterLoad) fill(prefix string, n, sizeBytes int) {
	l.t.Helper()
	var writing sync.WaitGroup
	const writers = 8
	for w := range writers {
		writing.Go(func() {
			client := l.clients[w%len(l.clients)]
			for i := w; i < n; i += writers {
				key := fmt.Sprintf("%s/%05d", prefix, i)
				if _, _, err := client.do(l.t.Context(), http.MethodPut, key, "", body(key, 1, sizeBytes)); err != nil {
					l.t.Errorf("PUT %s: %v", key, err)
				}
			}
		})
	}
	writing.Wait()
}

// changeMap does what kintsugi admin does with this change, and returns what it planned.
func (c *testCluster) changeMap(change admin.Change) admin.Plan {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	plan, err := c.admin.Change(ctx, change)
	if err != nil {
		c.t.Fatalf("%s %s: %v", change.Kind, change.Target, err)
	}
	return plan
}

// Three nodes come and go again under load: nobody notices, and no more moves than must.
func TestClusterScale(t *testing.T) {
	withoutRaceDetector(t)
	s := scale()
	objects, sizeBytes := 400, 64<<10
	if isFull() {
		objects = 6000
	}
	c := startCluster(t, devShape{storage: 6, metas: s.shape.metas, gateways: s.shape.gateways})
	l := newClusterLoad(t, c.endpoints(), 2, s.keys, 8)
	l.largest = 15 // 32 KiB: what the load writes while data moves must not count
	l.fill("static", objects, sizeBytes)
	c.waitStatus(time.Minute, "all is redundant", isRedundant)
	l.start()
	l.runFor(s.before)

	measure := func(what string, share float64, do func()) {
		t.Helper()
		status, err := c.status()
		if err != nil {
			t.Fatal(err)
		}
		live, written := 0.0, c.metric("kintsugi_repair_written_bytes_total")
		for _, d := range status.Drives {
			live += float64(d.LiveData)
		}
		began := time.Now()
		do()
		moved, bound := c.metric("kintsugi_repair_written_bytes_total")-written, live*share
		figure(t, "%s took %s: moved %.1f MB, at least %.1f MB had to: %.3f", what, rounded(time.Since(began)), moved/1e6, bound/1e6, moved/bound)
		if s.strict && moved > 1.1*bound {
			t.Errorf("%s moved %.2f times of what must", what, moved/bound)
		}
	}
	measure("6 -> 9 nodes", 1.0/3, func() {
		c.grow(devShape{storage: 9, metas: asItIs, gateways: asItIs, drives: 1})
		c.waitStatus(3*time.Minute, "the new nodes have their share", func(s admin.Status) bool {
			return isRedundant(s) && liveShards(s, "n7") > 0 && liveShards(s, "n8") > 0 && liveShards(s, "n9") > 0
		})
	})
	c.tellFill(s.strict)
	measure("9 -> 6 nodes", 1.0/3, func() {
		for _, node := range []string{"n7", "n8", "n9"} {
			c.changeMap(admin.Change{Kind: admin.Drain, Target: node})
		}
		c.waitStatus(3*time.Minute, "the nodes are drained", func(s admin.Status) bool {
			return isRedundant(s) && slotsOf(s, "n7", "n8", "n9") == 0
		})
		for _, node := range []string{"n7", "n8", "n9"} {
			c.changeMap(admin.Change{Kind: admin.Remove, Target: node})
		}
	})
	c.kill("n7", "n8", "n9") // only now: what they counted goes with them
	l.runFor(s.after)
	l.end()
	l.checkAll()
	c.tellFill(s.strict)
	for i := range objects {
		key := fmt.Sprintf("static/%05d", i)
		got, _, err := l.clients[0].do(t.Context(), http.MethodGet, key, "", nil)
		if err != nil || string(got) != string(body(key, 1, sizeBytes)) {
			t.Fatalf("GET %s: %d bytes, %v", key, len(got), err)
		}
	}
	figure(t, "GET %s; writes %s", l.latencies(0, l.now(), loadReads...), l.latencies(0, l.now(), loadWrites...))
}

func slotsOf(s admin.Status, nodes ...string) (n int) {
	for _, d := range s.Drives {
		for _, node := range nodes {
			if d.Node == node {
				n += d.Slots + d.Leaving
			}
		}
	}
	return n
}

// tellFill compares how full the drives are.
func (c *testCluster) tellFill(strict bool) {
	c.t.Helper()
	status, err := c.status()
	if err != nil {
		c.t.Fatal(err)
	}
	least, most := 0.0, 0.0
	for _, d := range status.Drives {
		if d.Slots == 0 {
			continue
		}
		if live := float64(d.LiveData); least == 0 || live < least {
			least = live
		}
		most = max(most, float64(d.LiveData))
	}
	figure(c.t, "drives hold %.1f to %.1f MB: %.3f", least/1e6, most/1e6, most/max(least, 1))
	if strict && most > 1.05*least {
		c.t.Errorf("the fullest drive has %.3f times of the emptiest, want 1.05 at most", most/least)
	}
}
