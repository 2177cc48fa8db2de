package main

import (
	"os"
	"slices"
	"testing"
	"time"

	"kintsugi/cmd/kintsugi/admin"
)

// rebuildFigures are what a rebuild costs.
type rebuildFigures struct {
	detected, out, redundant    time.Duration // after the kill
	bytes                       float64       // that the dead node had
	read, written               float64       // by the reconcilers
	before, during, firstSecond latencies     // of GETs
}

// watchRebuild kills a node under load and waits until all is redundant without it.
func watchRebuild(c *testCluster, l *clusterLoad, s testScale, victim string) (f rebuildFigures) {
	c.t.Helper()
	status, err := c.status()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, d := range status.Drives {
		if d.Node == victim {
			f.bytes += float64(d.LiveData)
		}
	}
	read, written := c.metric("kintsugi_repair_read_bytes_total"), c.metric("kintsugi_repair_written_bytes_total")
	at, began := l.now(), time.Now()
	c.kill(victim)
	// What the dead node itself counted is gone with it.
	c.waitNodes(time.Minute, victim+" is down", func(s admin.Status) bool { return !isUp(s, victim) })
	f.detected = time.Since(began)
	c.waitNodes(time.Minute, victim+" is out", func(s admin.Status) bool {
		return !slices.Contains(driveStates(s)[victim], "up")
	})
	f.out = time.Since(began)
	c.waitStatus(5*time.Minute, "all is redundant without "+victim, isRedundant)
	f.redundant = time.Since(began)
	f.read = c.metric("kintsugi_repair_read_bytes_total") - read
	f.written = c.metric("kintsugi_repair_written_bytes_total") - written
	f.before, f.during = l.latencies(at-s.before, at, loadReads...), l.latencies(at, l.now(), loadReads...)
	f.firstSecond = l.latencies(at, at+time.Second, loadReads...)
	return f
}

func (f rebuildFigures) tell(t *testing.T) {
	t.Helper()
	figure(t, "down after %s, out after %s, all redundant after %s", rounded(f.detected), rounded(f.out), rounded(f.redundant))
	figure(t, "the dead node had %.1f MB; read %.1f MB, written %.1f MB: %.2f bytes read per byte written", f.bytes/1e6, f.read/1e6,
		f.written/1e6, f.read/max(f.written, 1))
	figure(t, "GET before         %s", f.before)
	figure(t, "GET first second   %s", f.firstSecond)
	figure(t, "GET during rebuild %s", f.during)
}

// A dead node's shards are rebuilt on the others; when it is back its surplus goes; and an empty directory in the
// place of a full one is filled.
func TestClusterRebuild(t *testing.T) {
	withoutRaceDetector(t)
	s := scale()
	if !isFull() {
		s.shape.storage = 7 // 4+2 stays possible without one
	}
	c := startCluster(t, s.shape)
	l := newClusterLoad(t, c.endpoints(), s.workers, s.keys, 6)
	if isFull() {
		l.fill("static", 3366, 225_000)
	}
	l.start()
	l.runFor(s.before)
	victim := someOf(c.names(roleStorage), 1)[0]
	watchRebuild(c, l, s, victim).tell(t)

	c.revive()
	took := c.waitStatus(2*time.Minute, victim+" has shards again, all is redundant", func(s admin.Status) bool {
		return areUp(s) && isRedundant(s) && driveStates(s)[victim][0] == "up"
	})
	figure(t, "%s came back and was complete after %s", victim, rounded(took))
	l.end()
	took = c.waitStatus(3*time.Minute, "there is no shard too many", hasNoSurplus)
	figure(t, "no shard was too many %s after the load ended", rounded(took))
	l.checkAll()

	l.start()
	l.runFor(time.Second)
	before := c.process(victim)
	c.kill(victim)
	for _, dir := range before.Dirs { // to remove it would keep the disk that all share busy with freeing space
		if err := os.Rename(dir, dir+"-away"); err != nil {
			t.Fatal(err)
		}
	}
	c.revive()
	took = c.waitStatus(3*time.Minute, "the empty drive is filled", func(s admin.Status) bool {
		return areUp(s) && isRedundant(s) && liveShards(s, victim) > 0
	})
	figure(t, "an empty drive in the place of a full one was filled after %s", rounded(took))
	l.end()
	l.checkAll()
}

// hasNoSurplus tells whether the drives have as many shards as the chunks need.
func hasNoSurplus(s admin.Status) bool {
	shards := uint64(0)
	for _, d := range s.Drives {
		shards += d.Shards
	}
	return isRedundant(s) && shards == s.Chunks.Total*6
}

// liveShards counts those on the drives of a node that take shards.
func liveShards(s admin.Status, node string) (n uint64) {
	for _, d := range s.Drives {
		if d.Node == node && d.State == "up" {
			n += d.Shards
		}
	}
	return n
}

// All processes die at once, as in a power cut: everything acknowledged is there when they are back.
func TestClusterPowerCut(t *testing.T) {
	s := scale()
	c := startCluster(t, s.shape)
	l := newClusterLoad(t, c.endpoints(), s.workers, s.keys, 7)
	for range s.rounds {
		l.start()
		l.runFor(s.before)
		l.mayFail.Store(true)
		var all []string
		for _, p := range c.processes() {
			all = append(all, p.Node)
		}
		c.kill(all...)
		l.end()
		began := time.Now()
		c.revive()
		figure(t, "all %d processes were ready %s after their start", len(all), rounded(time.Since(began)))
		l.mayFail.Store(false)
		l.checkAll()
		c.waitStatus(2*time.Minute, "all is redundant again", func(s admin.Status) bool { return areUp(s) && isRedundant(s) })
	}
}
