package storagenode

import (
	"slices"
	"time"

	"kintsugi/placement"
)

// The core decides what one drive's Reconciler does next. It is pure: Step takes
// what happened and returns what to do; the Reconciler does it and comes back
// with what came of it.
//
// The life of a partition: something makes it wanted; it is scanned; each chunk
// that the drive lacks becomes a task; when all tasks are done it is scanned
// again, shard by shard, and when nothing is left to do it is settled. If a
// transition of it is open and no home lacks anything, it is reported clean.

// event is something that happened.
type event any

type (
	mapChanged struct{ m *placement.Map }
	// hinted: a reader or a scrub missed the drive's shard of this chunk.
	hinted struct {
		chunk     chunkID
		partition uint32
	}
	scanned struct {
		partition uint32
		result    scanResult
		err       error
	}
	repaired struct {
		task    task
		outcome outcome
	}
	dropped struct {
		partition uint32
		err       error
	}
	woken struct{} // a drive came back or the like: what was put off is worth another try
	// doubted: everything is to be looked at, because this drive may have missed something or somebody asks for it.
	doubted struct{ level level }
	ticked  struct{} // the time that wake named has come
)

// effect is something to do: a scan, task, drop, ask or report.
type effect any

type (
	// scan is answered by scanned.
	scan struct {
		partition uint32
		deep      bool
		many      bool // others wait
	}
	// task is to get the drive's own shard of a chunk. It is answered by repaired.
	task struct {
		partition uint32
		chunk     chunkID
		spare     int   // as in verdict, when it was found; 0 for hints
		bytes     int64 // size of the shard; 0 for hints
		code      code  // unknown for hints
		intact    bool  // all other homes had their shards: they can be read without asking
	}
	// drop removes copies that no home needs. It is answered by dropped.
	drop struct {
		partition uint32
		copies    []copyOf
	}
	// ask wants other homes to look for these shards of theirs.
	ask struct{ shards []placement.ShardID }
	// report says that the homes of these partitions are complete under this epoch.
	report struct {
		epoch      uint64
		partitions []uint32
	}
)

// outcome is what came of a task.
type outcome int

const (
	copied        outcome = iota // from another drive
	rebuilt                      // from k others
	present                      // it was there already
	deleted                      // the chunk was: it must not come back
	unrecoverable                // fewer than k shards can be reached
	failed                       // it could not be read or written now
	outcomes                     // their number
)

// level is how closely a partition is to be looked at.
type level uint8

const (
	settled level = iota
	compare       // digests
	deep          // every shard
)

// partition is the state of one.
type partition struct {
	want     level // of the next scan
	queued   bool  // in core.ready
	scanning bool
	failed   bool                // a task of this round did
	stuck    bool                // a task ended in unrecoverable
	tasks    int                 // queued or under way
	rounds   int                 // of tasks since a scan found nothing to do
	tries    uint                // back-offs since the last progress
	excused  map[chunkID]outcome // chunks for which this drive can do nothing now
}

// timing of the core.
type timing struct {
	settle   time.Duration // as in Config
	retry    time.Duration // the first back-off
	maxRetry time.Duration
	fullPass time.Duration // between two looks at every shard
}

const (
	maxScans   = 2
	manyScans  = 8 // from so many on the drives are asked for all partitions at once
	maxRepairs = 16
	// maxTasks bounds the memory of the queue: scans wait while it is full. Up to this number the
	// chunk with the least redundancy goes first, wherever it was found.
	maxTasks    = 32 << 10
	reportAfter = time.Second // clean partitions are reported together
	// maxRounds bounds how often a partition is scanned at once after its tasks have
	// succeeded: if there is always more, something is odd, and haste does not help.
	maxRounds = 32
)

type core struct {
	timing
	me         placement.DriveID
	m          *placement.Map
	partitions []partition
	ready      []uint32             // to be scanned, in order
	later      map[uint32]time.Time // to be scanned, deep, from then on
	nextDue    time.Time            // no time in later is before it; zero: later is empty
	queue      queue
	known      map[chunkID]struct{} // chunks with a task
	scans      int
	repairs    int
	clean      []uint32            // to be reported
	reported   map[uint32]struct{} // under the present map
	cleanSince time.Time
	nextPass   time.Time
	compared   int // scans, and chunks missing in them, since there was nothing to do last
	found      int
}

func newCore(me placement.DriveID, t timing) *core {
	return &core{timing: t, me: me, later: map[uint32]time.Time{}, known: map[chunkID]struct{}{}, reported: map[uint32]struct{}{}}
}

// Step applies ev and returns what to do. It does no I/O.
func (c *core) Step(now time.Time, ev event) []effect {
	var effects []effect
	switch ev := ev.(type) {
	case mapChanged:
		c.adopt(now, ev.m)
	case hinted:
		c.hint(ev)
	case scanned:
		effects = c.scanned(now, ev)
	case repaired:
		c.repaired(now, ev)
	case dropped:
		c.dropped(now, ev)
	case woken:
		for p := range c.later {
			c.partitions[p].tries = 0
			c.later[p] = now
		}
		c.nextDue = now
	case strayed:
		for _, p := range ev.partitions {
			c.wantScan(p, deep)
		}
	case doubted:
		for p := range c.partitions {
			c.partitions[p].tries, c.partitions[p].excused, c.partitions[p].stuck = 0, nil, false
			c.wantScan(uint32(p), ev.level)
		}
	}
	c.pass(now)
	c.due(now)
	return c.dispatch(now, effects)
}

func (c *core) hint(ev hinted) {
	if int64(ev.partition) < int64(len(c.partitions)) {
		c.enqueue(task{partition: ev.partition, chunk: ev.chunk})
	}
}

func (c *core) enqueue(t task) {
	if _, ok := c.known[t.chunk]; ok {
		return
	}
	c.known[t.chunk] = struct{}{}
	c.partitions[t.partition].tasks++
	c.queue.push(t)
}

func (c *core) scanned(now time.Time, ev scanned) []effect {
	c.scans--
	st := &c.partitions[ev.partition]
	st.scanning = false
	if ev.err != nil {
		c.backOff(now, ev.partition)
		return nil
	}
	c.compared++
	c.found += len(ev.result.missing)
	for _, f := range ev.result.missing {
		if _, ok := st.excused[f.chunk]; !ok {
			c.enqueue(task{ev.partition, f.chunk, f.spare, f.bytes, f.code, f.intact})
		}
	}
	if ev.result.young {
		c.postpone(now, ev.partition, c.settle+time.Second)
	}
	switch {
	case st.tasks > 0:
		st.want = deep // when they are done
	case len(ev.result.surplus) > 0:
		st.tasks++
		c.scans++ // scans wait for it, so that drops do not pile up
		if ev.result.truncated {
			st.want = deep
		}
		return []effect{drop{ev.partition, ev.result.surplus}}
	case st.want > settled:
		c.wantScan(ev.partition, st.want)
	default:
		return c.conclude(now, ev.partition, ev.result)
	}
	return nil
}

// conclude is for a partition in which this drive can do nothing more now.
func (c *core) conclude(now time.Time, p uint32, r scanResult) []effect {
	st := &c.partitions[p]
	excused := st.excused
	st.excused, st.rounds = nil, 0
	if r.truncated || st.stuck {
		c.backOff(now, p)
	}
	lacking := slices.DeleteFunc(r.lacking, func(id placement.ShardID) bool {
		out, ok := excused[chunkOf(id)]
		return ok && out != present // that this drive has its own says nothing of the others
	})
	if !c.concerned(p) {
		return askSome(lacking) // who missed a write may not have been told
	}
	if len(lacking) > 0 || r.truncated || r.unseen {
		c.backOff(now, p)
		return []effect{ask{lacking}}
	}
	if r.young {
		return nil // it was put off when that was found; its writers are no reason to be more patient each time
	}
	c.tell(now, p)
	return nil
}

// askSome asks for a few: all homes of a partition may see the same, and who lacks much finds out by itself.
func askSome(lacking []placement.ShardID) []effect {
	const some = 64
	if len(lacking) == 0 {
		return nil
	}
	return []effect{ask{lacking[:min(some, len(lacking))]}}
}

func (c *core) repaired(now time.Time, ev repaired) {
	c.repairs--
	delete(c.known, ev.task.chunk)
	st := &c.partitions[ev.task.partition]
	switch ev.outcome {
	case copied, rebuilt:
		st.tries = 0
	case present, deleted, unrecoverable:
		if st.excused == nil {
			st.excused = map[chunkID]outcome{}
		}
		st.excused[ev.task.chunk] = ev.outcome
		st.stuck = st.stuck || ev.outcome == unrecoverable
	case failed:
		st.failed = true
	}
	st.tasks--
	c.ended(now, ev.task.partition)
}

func (c *core) dropped(now time.Time, ev dropped) {
	c.scans--
	st := &c.partitions[ev.partition]
	st.tasks--
	st.failed = st.failed || ev.err != nil
	c.ended(now, ev.partition)
}

// ended goes on with a partition when its last task has ended.
func (c *core) ended(now time.Time, p uint32) {
	st := &c.partitions[p]
	if st.tasks > 0 || st.scanning || st.queued {
		return
	}
	if st.rounds++; st.failed || st.rounds >= maxRounds {
		st.failed, st.rounds = false, 0
		c.backOff(now, p)
		return
	}
	if st.want > settled {
		c.wantScan(p, st.want)
		return
	}
	st.rounds = 0
	if st.stuck {
		c.backOff(now, p)
	}
	st.excused = nil
}
