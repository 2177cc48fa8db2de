package raftgroup

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

const (
	maxApplyEntries    = 1024
	maxApplyBytes      = 512 << 10
	lazyEntries        = 256
	syncBytes          = 8 << 20  // executed since the last Sync
	maxBacklogBytes    = 16 << 20 // committed but not executed; beyond it the loop waits
	committedEntrySize = 128
)

// committed is a committed entry on its way to the machine, or a snapshot to be fetched.
type committed struct {
	group    *group
	entry    *raftpb.Entry
	members  *raftpb.ConfState // as changed by it
	proposal *proposal         // waits for the result
	restore  *restore          // instead of an entry
}

func (c *committed) size() int {
	return len(c.entry.GetData()) + committedEntrySize
}

// committer executes what is committed, all groups in one transaction. Where nobody waits it lets a batch grow for
// a while: five replicas in one process should not cost five times one.
type committer struct {
	host *Host

	mu      sync.Mutex // guards the following
	queue   []committed
	bytes   int
	urgent  bool
	sync    bool
	stopped bool
	room    chan struct{} // not nil: the loop waits for the queue to shrink

	wake chan struct{}

	// Used by run only.
	batch    []committed
	entries  []Entry
	unsynced int // bytes
	dirty    bool
}

func newCommitter(h *Host) *committer {
	return &committer{host: h, wake: make(chan struct{}, 1)}
}

// push queues items. It waits if far too much is queued.
func (c *committer) push(items []committed) {
	if len(items) == 0 {
		return
	}
	c.mu.Lock()
	was := len(c.queue)
	for i := range items {
		c.bytes += items[i].size()
		if items[i].proposal != nil || items[i].restore != nil || items[i].group.waiters.any() {
			c.urgent = true
		}
	}
	c.queue = append(c.queue, items...)
	wake := was == 0 || c.due()
	var room chan struct{}
	if c.bytes > maxBacklogBytes && !c.stopped {
		c.room = make(chan struct{})
		room = c.room
	}
	c.mu.Unlock()
	if wake {
		c.poke()
	}
	if room != nil {
		<-room
	}
}

// due tells whether the queue should be executed now. c.mu is held.
func (c *committer) due() bool {
	return c.urgent || c.sync || c.stopped || len(c.queue) >= lazyEntries || c.bytes >= maxApplyBytes
}

func (c *committer) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// hurry has the queue executed without further delay.
func (c *committer) hurry() { c.set(func() { c.urgent = true }) }

// requestSync has the state made durable.
func (c *committer) requestSync() { c.set(func() { c.sync = true }) }

// stop ends run when the queue is empty, or at once if the host has failed.
func (c *committer) stop() { c.set(func() { c.stopped = true }) }

func (c *committer) set(change func()) {
	c.mu.Lock()
	change()
	c.mu.Unlock()
	c.poke()
}

// run is the goroutine of the committer.
func (c *committer) run() error {
	defer c.giveRoom()
	lazy := time.NewTimer(time.Hour)
	defer lazy.Stop()
	for {
		force := false
		select {
		case <-c.wake:
		case <-lazy.C:
			force = true
		case <-c.host.failed:
			return nil
		}
		for c.take(force) {
			force = false
			if err := c.execute(); err != nil {
				return err
			}
		}
		done, wait, err := c.settle()
		if done || err != nil {
			return err
		}
		if wait {
			lazy.Reset(c.host.cfg.ApplyDelay)
		}
	}
}

// giveRoom lets the loop go on when the committer has ended.
func (c *committer) giveRoom() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}

// take moves the next entries to the batch, if they are due or it is forced. It returns whether there are any.
func (c *committer) take(force bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.batch)
	c.batch = c.batch[:0]
	if !force && !c.due() {
		return false
	}
	n, size := 0, 0
	for n < len(c.queue) && n < maxApplyEntries && (n == 0 || size+c.queue[n].size() <= maxApplyBytes) {
		if c.queue[n].restore != nil && n > 0 {
			break
		}
		size += c.queue[n].size()
		n++
		if c.queue[n-1].restore != nil {
			break
		}
	}
	c.batch = append(c.batch, c.queue[:n]...)
	rest := copy(c.queue, c.queue[n:])
	clear(c.queue[rest:])
	c.queue = c.queue[:rest]
	c.bytes -= size
	if rest == 0 {
		c.urgent = false
	}
	if c.room != nil && c.bytes <= maxBacklogBytes/2 {
		close(c.room)
		c.room = nil
	}
	return n > 0
}

// settle syncs if it is time to, and tells whether the committer has to end or to wait for a lazy batch.
func (c *committer) settle() (done, wait bool, err error) {
	c.mu.Lock()
	want, rest := c.sync, len(c.queue)
	done = c.stopped && rest == 0
	c.sync = false
	c.mu.Unlock()
	if (want || done || c.unsynced >= syncBytes) && c.dirty {
		if err := c.syncMachine(); err != nil {
			return false, false, err
		}
	}
	return done, rest > 0, nil
}

// syncMachine makes the state durable and publishes up to where it is.
func (c *committer) syncMachine() error {
	if err := c.host.cfg.Machine.Sync(); err != nil {
		return fmt.Errorf("sync state: %w", err)
	}
	for _, g := range c.host.groups {
		g.synced.Store(g.applied.Load())
	}
	c.unsynced, c.dirty = 0, false
	return nil
}

// execute gives the batch to the machine and the results to those who wait.
func (c *committer) execute() error {
	if len(c.batch) == 0 {
		return nil
	}
	if r := c.batch[0].restore; r != nil {
		return c.host.runRestore(c.batch[0].group, r)
	}
	c.batch = slices.DeleteFunc(c.batch, func(i committed) bool {
		// A restored snapshot may be ahead of the log.
		if i.entry.GetIndex() > i.group.applied.Load() {
			return false
		}
		if i.proposal != nil {
			i.proposal.finish(nil, ErrLost)
		}
		return true
	})
	if len(c.batch) == 0 {
		return nil
	}
	for i := range c.batch {
		c.entries = append(c.entries, c.batch[i].toEntry())
		c.unsynced += c.batch[i].size()
	}
	c.dirty = true
	results, err := c.host.cfg.Machine.Apply(c.entries)
	if err == nil && len(results) != len(c.entries) {
		err = fmt.Errorf("%d results for %d entries", len(results), len(c.entries))
	}
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	c.publish()
	c.answer(results)
	clear(c.entries)
	c.entries = c.entries[:0]
	return nil
}

func (c *committed) toEntry() Entry {
	e := Entry{Group: c.group.id, Index: c.entry.GetIndex(), Term: c.entry.GetTerm(), Members: c.members}
	if c.entry.GetType() == raftpb.EntryNormal {
		e.Data = c.entry.GetData()
	}
	return e
}

// publish raises the positions of the groups in the batch and wakes those who wait for them.
func (c *committer) publish() {
	for i := range c.batch {
		g, e := c.batch[i].group, c.batch[i].entry
		if i+1 < len(c.batch) && c.batch[i+1].group == g && c.batch[i].members == nil {
			continue
		}
		g.mu.Lock()
		g.position.Index, g.position.Term = e.GetIndex(), e.GetTerm()
		if m := c.batch[i].members; m != nil {
			g.position.Members = m
		}
		g.mu.Unlock()
		g.applied.Store(e.GetIndex())
		g.waiters.reached(e.GetIndex())
	}
	c.host.metrics.applied.Add(float64(len(c.batch)))
	c.host.metrics.applies.Inc()
}

// answer hands out the results. An error of a command is its result.
func (c *committer) answer(results []any) {
	for i := range c.batch {
		p := c.batch[i].proposal
		if p == nil {
			continue
		}
		if err, ok := results[i].(error); ok {
			p.finish(nil, err)
			continue
		}
		p.finish(results[i], nil)
	}
}
