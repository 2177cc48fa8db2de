package storagenode

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kintsugi/placement"
)

// coreTest steps a core and names the effects.
type coreTest struct {
	*testing.T
	core *core
	now  time.Time
}

func newCoreTest(t *testing.T, me int, m *placement.Map) *coreTest {
	c := &coreTest{t, newCore(driveID(me), timing{settle: 10 * time.Second, retry: time.Second, maxRetry: time.Minute, fullPass: time.Hour}), time.Unix(1000, 0)}
	if m != nil {
		c.core.Step(c.now, mapChanged{m})
	}
	return c
}

// step expects these effects, in order.
func (c *coreTest) step(ev event, want ...string) {
	c.Helper()
	var got []string
	for _, e := range c.core.Step(c.now, ev) {
		got = append(got, describe(e))
	}
	if !slices.Equal(got, want) {
		c.Fatalf("after %T: %s; want %s", ev, strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

func describe(e effect) string {
	switch e := e.(type) {
	case scan:
		return fmt.Sprintf("scan %d deep=%v", e.partition, e.deep)
	case task:
		return fmt.Sprintf("repair %d", e.chunk.chunk)
	case drop:
		return fmt.Sprintf("drop %d", len(e.copies))
	case ask:
		return fmt.Sprintf("ask %d", len(e.shards))
	case report:
		return fmt.Sprintf("report %d %v", e.epoch, e.partitions)
	}
	return "?"
}

func (c *coreTest) wait(d time.Duration) { c.now = c.now.Add(d) }

// oneMoving is a map of one partition that has just lost drive 2 to drive 9.
func oneMoving(t *testing.T) *placement.Map {
	m := onePartition(t)
	next, err := m.With(placement.ReplaceDrive{Old: driveID(2), New: placement.Drive{ID: driveID(9), Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func onePartition(t *testing.T) *placement.Map {
	m, err := placement.Birth(placement.ClusterID{}, 1, 2, 1, []placement.Drive{
		{ID: driveID(0), Weight: 1}, {ID: driveID(1), Weight: 1}, {ID: driveID(2), Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func chunkNumber(n uint32) chunkID { return chunkID{chunk: n} }

func found(spares ...int) (r scanResult) {
	for i, spare := range spares {
		r.missing = append(r.missing, finding{chunk: chunkNumber(uint32(i)), spare: spare, bytes: 100})
		r.lacking = append(r.lacking, chunkNumber(uint32(i)).shard(0))
	}
	return r
}

func done(chunk uint32, o outcome) repaired {
	return repaired{task{chunk: chunkNumber(chunk)}, o}
}

func TestCoreStory(t *testing.T) {
	c := newCoreTest(t, 9, nil)
	c.step(mapChanged{oneMoving(t)}, "scan 0 deep=true")
	c.step(scanned{partition: 0, result: found(1, 0)}, "repair 1", "repair 0") // least redundancy first
	c.step(done(1, rebuilt))
	c.step(done(0, copied), "scan 0 deep=true") // to be sure
	c.step(scanned{}, "report 2 [0]")
	c.step(mapChanged{c.core.m.Complete([]uint32{0})})
	c.wait(time.Hour) // all is done until the full pass
	c.step(ticked{}, "scan 0 deep=true")
	c.step(scanned{})
}

func TestCoreUrgentFirst(t *testing.T) {
	c := newCoreTest(t, 9, oneMoving(t))
	var first []string
	for i := range maxRepairs {
		first = append(first, fmt.Sprintf("repair %d", i))
	}
	c.step(scanned{result: found(slices.Repeat([]int{2}, maxRepairs+1)...)}, first...)
	c.step(hinted{chunkNumber(100), 0})
	c.step(hinted{chunkNumber(100), 0}) // once is enough
	c.step(done(0, copied), "repair 100")
	c.step(done(1, copied), fmt.Sprintf("repair %d", maxRepairs))
	c.step(done(2, copied))
}

// When another home is lost, the chunks that it had go first, though they were found with more to spare.
func TestCoreLossWhileItWorks(t *testing.T) {
	var drives []placement.Drive
	for i := range 5 {
		drives = append(drives, placement.Drive{ID: driveID(i), Weight: 1})
	}
	m, err := placement.Birth(placement.ClusterID{}, 8, 1, 2, drives)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, fresh int) {
		if m, err = m.With(placement.ReplaceDrive{Old: driveID(old), New: placement.Drive{ID: driveID(fresh), Weight: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	replace(0, 9)
	c := newCore(driveID(9), timing{})
	c.Step(time.Unix(1000, 0), mapChanged{m})
	for p := range uint32(8) {
		c.enqueue(task{partition: p, chunk: chunkNumber(p), spare: 1})
	}
	replace(1, 8)
	c.adopt(time.Unix(1000, 0), m)
	exposed := true
	for c.queue.count > 0 {
		p := c.queue.pop().partition
		now := gone(m, p) == 2
		if now && !exposed {
			t.Errorf("partition %d waits for those that have more to spare", p)
		}
		exposed = now
	}
}

func TestCoreBackOff(t *testing.T) {
	c := newCoreTest(t, 9, oneMoving(t))
	for _, wait := range []time.Duration{1, 2, 4, 8} {
		c.step(scanned{err: errors.New("no answer")})
		if got := c.core.wake().Sub(c.now); got != wait*time.Second {
			t.Fatalf("waits %s, want %ds", got, wait)
		}
		c.wait(wait*time.Second - 1)
		c.step(ticked{})
		c.wait(1)
		c.step(ticked{}, "scan 0 deep=true")
	}
	c.step(scanned{err: errors.New("no answer")})
	c.step(woken{}, "scan 0 deep=true")
	c.step(scanned{result: found(0)}, "repair 0")
	c.step(done(0, failed))
	c.wait(time.Minute)
	c.step(ticked{}, "scan 0 deep=true")
}

func TestCoreExcuses(t *testing.T) {
	for _, c := range []struct {
		outcome outcome
		later   bool
	}{{deleted, false}, {unrecoverable, true}} {
		t.Run(outcomeNames[c.outcome], func(t *testing.T) {
			test := newCoreTest(t, 9, oneMoving(t))
			test.step(scanned{result: found(-1)}, "repair 0")
			test.step(done(0, c.outcome), "scan 0 deep=true")
			test.step(scanned{result: found(-1)}, "report 2 [0]") // it does not hold up the transition
			if got := test.core.wake().Before(test.now.Add(5 * time.Second)); got != c.later {
				t.Errorf("tried again soon: %v", got)
			}
		})
	}
}

// A chunk that nobody can rebuild, one that another home lacks and what readers miss are one reason to wait, not three.
func TestCoreBacksOffOnceForEachLook(t *testing.T) {
	c := newCoreTest(t, 9, oneMoving(t))
	r := found(-1)
	r.lacking = []placement.ShardID{chunkNumber(3).shard(1)}
	for _, wait := range []time.Duration{1, 2, 4, 8} {
		c.step(scanned{result: r}, "repair 0")
		c.step(done(0, unrecoverable), "scan 0 deep=true")
		c.step(scanned{result: r}, "ask 1")
		c.step(hinted{chunk: chunkNumber(7)}, "repair 7")
		c.step(done(7, unrecoverable))
		if got := c.core.wake().Sub(c.now); got != wait*time.Second {
			t.Fatalf("waits %s, want %ds", got, wait)
		}
		c.wait(wait * time.Second)
		c.step(ticked{}, "scan 0 deep=true")
	}
}

// TestCoreDoesNotSpin expects patience with a shard that is missing again after each success.
func TestCoreDoesNotSpin(t *testing.T) {
	c := newCoreTest(t, 9, oneMoving(t))
	for range maxRounds - 1 {
		c.step(scanned{result: found(0)}, "repair 0")
		c.step(done(0, copied), "scan 0 deep=true")
	}
	c.step(scanned{result: found(0)}, "repair 0")
	c.step(done(0, copied))
	c.wait(time.Second)
	c.step(ticked{}, "scan 0 deep=true")
}

func TestCoreWaitsForOthers(t *testing.T) {
	c := newCoreTest(t, 9, oneMoving(t))
	c.step(scanned{result: scanResult{lacking: []placement.ShardID{chunkNumber(3).shard(1)}}}, "ask 1")
	c.wait(time.Second)
	c.step(ticked{}, "scan 0 deep=true")
	c.step(scanned{result: scanResult{young: true}})
	c.wait(11 * time.Second)
	c.step(ticked{}, "scan 0 deep=true")
	c.step(scanned{result: scanResult{unseen: true}}, "ask 0")
	c.wait(time.Minute)
	c.step(ticked{}, "scan 0 deep=true")
	c.step(scanned{}, "report 2 [0]")
}

// That a drive has its own shard does not make a partition clean in which others lack theirs.
func TestCorePresentExcusesNobodyElse(t *testing.T) {
	c := newCoreTest(t, 9, oneMoving(t))
	r := scanResult{missing: []finding{{chunk: chunkNumber(3)}}, lacking: []placement.ShardID{chunkNumber(3).shard(1)}}
	c.step(scanned{result: r}, "repair 3")
	c.step(done(3, present), "scan 0 deep=true")
	c.step(scanned{result: r}, "ask 1")
}

func TestCoreReportsAgainUnderTheNextEpoch(t *testing.T) {
	c := newCoreTest(t, 9, oneMoving(t))
	c.step(scanned{}, "report 2 [0]")
	next, err := c.core.m.With(placement.SetWeight{ID: driveID(0), Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	c.step(mapChanged{next}, "report 3 [0]")
}

func TestCoreDropsCopies(t *testing.T) {
	c := newCoreTest(t, 1, onePartition(t))
	c.step(scanned{result: scanResult{surplus: make([]copyOf, 3)}}, "drop 3")
	c.step(dropped{partition: 0})
	c.wait(time.Hour)
	c.step(ticked{}, "scan 0 deep=true")
	c.step(scanned{result: scanResult{surplus: make([]copyOf, 3)}}, "drop 3")
	c.step(dropped{0, errors.New("no answer")})
	c.wait(time.Second)
	c.step(ticked{}, "scan 0 deep=true")
}

// TestCoreConcerned expects that of the homes only new ones bring a transition about.
func TestCoreConcerned(t *testing.T) {
	m := oneMoving(t)
	c := newCoreTest(t, 1, nil)
	c.step(mapChanged{m}, "scan 0 deep=false")
	c.step(scanned{result: found()})
	c.step(mapChanged{m.Complete([]uint32{0})})
}

func TestQueue(t *testing.T) {
	var q queue
	for i, spare := range []int{-1, 3, 0, 100, 1, 0} {
		q.push(task{chunk: chunkNumber(uint32(i)), spare: spare, bytes: 10})
	}
	if q.count != 6 || q.bytes != 60 {
		t.Errorf("%d tasks of %d bytes", q.count, q.bytes)
	}
	var got []uint32
	for q.count > 0 {
		got = append(got, q.pop().chunk.chunk)
	}
	if want := []uint32{2, 5, 4, 1, 3, 0}; !slices.Equal(got, want) || q.bytes != 0 {
		t.Errorf("order %v, want %v; %d bytes left", got, want, q.bytes)
	}
}
