package main

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"kintsugi/cmd/kintsugi/admin"
)

// testScale is how large the tests of clusters are: quick by default, as the release is judged by with FULL=1.
type testScale struct {
	shape         devShape
	workers, keys int
	before, after time.Duration // load before and after a fault
	stopped       time.Duration // of processes that are stopped
	rounds        int
	strict        bool // latencies are judged, too: not where others keep the machine busy
}

func scale() testScale {
	if isFull() {
		return testScale{
			shape: devShape{storage: 9, metas: 3, gateways: 2}, workers: 8, keys: 40,
			before: 20 * time.Second, after: 20 * time.Second, stopped: time.Minute, rounds: 3, strict: true,
		}
	}
	return testScale{
		shape: devShape{storage: 6, metas: 3, gateways: 1}, workers: 4, keys: 12,
		before: 3 * time.Second, after: 4 * time.Second, stopped: 4 * time.Second, rounds: 1,
	}
}

// someOf picks n of the names.
func someOf(names []string, n int) []string {
	names = slices.Clone(names)
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:n]
}

var (
	loadReads  = []loadKind{loadGet, loadRange}
	loadWrites = []loadKind{loadPut, loadDelete, loadMultipart}
)

// tellAround prints latencies before and after a moment.
func tellAround(t *testing.T, l *clusterLoad, s testScale, at time.Duration) {
	t.Helper()
	for _, of := range []struct {
		name  string
		kinds []loadKind
	}{{"GET", loadReads}, {"writes", loadWrites}} {
		figure(t, "%-7s before        %s", of.name, l.latencies(at-s.before, at, of.kinds...))
		figure(t, "%-7s first second  %s", of.name, l.latencies(at, at+time.Second, of.kinds...))
		figure(t, "%-7s then          %s", of.name, l.latencies(at+time.Second, l.now(), of.kinds...))
	}
}

// Any two storage nodes die at once, under load: nobody notices.
func TestClusterKillTwoStorageNodes(t *testing.T) {
	s := scale()
	c := startCluster(t, s.shape)
	l := newClusterLoad(t, c.endpoints(), s.workers, s.keys, 1)
	l.start()
	for range s.rounds {
		l.runFor(s.before)
		victims, at := someOf(c.names(roleStorage), 2), l.now()
		c.kill(victims...)
		l.runFor(s.after)
		figure(t, "killed %v", victims)
		tellAround(t, l, s, at)
		before, after := l.latencies(at-s.before, at, loadReads...).quantile(0.99), l.latencies(at, at+time.Second, loadReads...).quantile(0.99)
		if s.strict && after > 3*before {
			t.Errorf("GET p99 in the first second is %s, before it was %s: want at most three times that", after, before)
		}
		c.revive()
		c.waitStatus(3*time.Minute, "all is redundant again", func(s admin.Status) bool { return areUp(s) && isRedundant(s) })
	}
	l.end()
	l.checkAll()
}

// Two storage nodes are stopped so long that the others do without them, and go on in the middle of what they did:
// nobody notices, and what they write late is refused.
func TestClusterStopTwoStorageNodes(t *testing.T) {
	withoutRaceDetector(t)
	s := scale()
	c := startCluster(t, s.shape)
	l := newClusterLoad(t, c.endpoints(), s.workers, s.keys, 2)
	l.start()
	l.runFor(s.before)
	victims, at := someOf(c.names(roleStorage), 2), l.now()
	c.signal(syscall.SIGSTOP, victims...)
	l.runFor(s.stopped)
	woke := l.now()
	c.signal(syscall.SIGCONT, victims...)
	l.runFor(s.after)
	l.end()
	figure(t, "stopped %v for %s", victims, s.stopped)
	tellAround(t, l, s, at)
	figure(t, "after they woke: GET %s; writes %s", l.latencies(woke, l.now(), loadReads...), l.latencies(woke, l.now(), loadWrites...))
	fenced := c.metric("kintsugi_storagenode_fenced_writes_total")
	figure(t, "writes refused for want of a lease or of the newest map: %v", fenced)
	if fenced == 0 {
		t.Error("nothing was fenced: did nobody write to the stopped nodes?")
	}
	c.waitStatus(3*time.Minute, "all is redundant again", func(s admin.Status) bool { return areUp(s) && isRedundant(s) })
	l.checkAll()
}

// leaders returns the metadata nodes by the groups that they lead.
func leaders(s admin.Status) map[string]int {
	n := map[string]int{}
	for _, g := range s.Metadata.Groups {
		if g.Leader != "" {
			n[g.Leader]++
		}
	}
	return n
}

// Leaders of the metadata die, also the coordinator: writes go on within 1.5 s, and nothing acknowledged is lost.
func TestClusterKillMetadataLeader(t *testing.T) {
	s := scale()
	c := startCluster(t, s.shape)
	l := newClusterLoad(t, c.endpoints(), s.workers, s.keys, 3)
	l.start()
	for range max(s.rounds, 2) {
		l.runFor(s.before)
		status, err := c.status()
		if err != nil {
			t.Fatal(err)
		}
		victim := status.Metadata.Groups[0].Leader
		at := l.now()
		c.kill(victim)
		l.runFor(s.after)
		gap := l.longestGap(at, l.now(), loadWrites...)
		slowest := l.latencies(at-time.Second, at+2*time.Second, loadPut, loadDelete).max() // of those that met with it
		figure(t, "killed %s, leader of %d of %d groups: no write for %s, slowest write %s", victim, leaders(status)[victim],
			len(status.Metadata.Groups), rounded(gap), rounded(slowest))
		tellAround(t, l, s, at)
		if s.strict && slowest > 1500*time.Millisecond {
			t.Errorf("a write took %s after its leader died: want 1.5 s at most", slowest)
		}
		c.revive()
		c.waitStatus(time.Minute, "the metadata has all its voters", func(s admin.Status) bool {
			return s.Metadata.Risky == 0 && s.Metadata.Lost == 0 && areUp(s)
		})
	}
	l.end()
	l.checkAll()
}

// A leader that is stopped is replaced, and serves nothing stale when it goes on.
func TestClusterStopMetadataLeader(t *testing.T) {
	withoutRaceDetector(t)
	s := scale()
	c := startCluster(t, s.shape)
	l := newClusterLoad(t, c.endpoints(), s.workers, s.keys, 4)
	l.start()
	l.runFor(s.before)
	status, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	victim, at := status.Metadata.Groups[0].Leader, l.now()
	c.signal(syscall.SIGSTOP, victim)
	l.runFor(max(s.after, 4*time.Second))
	c.signal(syscall.SIGCONT, victim)
	l.runFor(s.after)
	l.end()
	figure(t, "stopped %s: no write for %s", victim, rounded(l.longestGap(at, l.now(), loadWrites...)))
	tellAround(t, l, s, at)
	l.checkAll()
}

// One storage node more than may die: what lacks shards is answered with 503 within 5 s, never with 404, and all of it is
// there when they are back.
func TestClusterKillOneTooMany(t *testing.T) {
	withoutRaceDetector(t)
	s := scale()
	c := startCluster(t, s.shape)
	l := newClusterLoad(t, c.endpoints(), s.workers, s.keys, 5)
	l.start()
	l.runFor(s.before)
	victims, at := someOf(c.names(roleStorage), 3), l.now()
	l.mayFail.Store(true)
	c.kill(victims...)
	l.runFor(max(s.after, 8*time.Second))
	l.end()
	sum := l.latencies(at, l.now())
	figure(t, "killed %v: %s; the slowest failure took %s", victims, sum, rounded(l.slowestFailure(at)))
	l.checkFailures(at)
	c.revive()
	l.mayFail.Store(false)
	c.waitStatus(3*time.Minute, "all is redundant again", func(s admin.Status) bool { return areUp(s) && isRedundant(s) })
	l.checkAll()
	l.start()
	l.runFor(s.before)
	l.end()
	l.checkAll()
}

// failures calls f for what failed of what began at that time or later.
func (l *clusterLoad) failures(at time.Duration, f func(loadOp)) {
	for _, w := range l.workers {
		w.mu.Lock()
		for _, op := range w.ops {
			if op.err != nil && op.began >= at {
				f(op)
			}
		}
		w.mu.Unlock()
	}
}

func (l *clusterLoad) slowestFailure(at time.Duration) (slowest time.Duration) {
	l.failures(at, func(op loadOp) { slowest = max(slowest, op.took) })
	return slowest
}

// checkFailures wants all that failed to have been answered with 503, in time. An answer that had begun may
// have been cut off.
func (l *clusterLoad) checkFailures(at time.Duration) {
	l.t.Helper()
	n := 0
	l.failures(at, func(op loadOp) {
		n++
		var answer *answerError
		switch {
		case errors.As(op.err, &answer) && answer.status != http.StatusServiceUnavailable:
			l.t.Errorf("%s failed with %v, want 503", op.kind, op.err)
		case !errors.As(op.err, &answer) && op.began > at+time.Second && op.kind != loadGet:
			l.t.Errorf("%s failed without an answer: %v", op.kind, op.err)
		case op.took > 5*time.Second+500*time.Millisecond:
			l.t.Errorf("%s failed after %s, want 5 s at most", op.kind, op.took)
		}
	})
	if n == 0 {
		l.t.Error("nothing failed: were not too many killed?")
	}
}
