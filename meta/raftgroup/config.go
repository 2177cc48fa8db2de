package raftgroup

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// MaxCommandBytes bounds a proposal.
const MaxCommandBytes = 8 << 20

// Config says what a Host is. Zero values of the optional fields mean the defaults.
type Config struct {
	ID        uint64 // of this replica; never used again for another directory, not 0
	Dir       string // of the log; made if it is not there
	Groups    int    // fixed at the birth of the cluster
	Machine   Machine
	Transport Transport

	// Bootstrap are the first voters of every group, this host among them, the same on each of them. It is used
	// only if the log is empty, and must be empty for a replica that joins later.
	Bootstrap []uint64

	TickInterval  time.Duration // 100 ms: a heartbeat
	ElectionTicks int           // 10: ticks without a leader before an election
	ApplyDelay    time.Duration // 20 ms: how long commits may wait that nobody on this host waits for
	LogBytes      int64         // 32 MiB: beyond it the oldest segments go, down to half of it
	SegmentBytes  int64         // 4 MiB

	// CutDoubtfulTail opens a log that ends in a torn or damaged batch without that batch, although there are
	// peers. See ErrDoubtfulTail.
	CutDoubtfulTail bool

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics

	disk disk // of the tests
}

// Validate tells what is wrong with c.
func (c *Config) Validate() error {
	switch {
	case c.ID == 0:
		return errors.New("raft host: no id")
	case c.Dir == "":
		return errors.New("raft host: no directory")
	case c.Groups <= 0 || c.Groups > 1<<16:
		return fmt.Errorf("raft host: %d groups", c.Groups)
	case c.Machine == nil || c.Transport == nil:
		return errors.New("raft host: no machine or transport")
	case c.ElectionTicks < 0 || c.ElectionTicks == 1 || c.TickInterval < 0 || c.ApplyDelay < 0:
		return errors.New("raft host: timing out of range")
	case c.SegmentBytes < 0 || c.SegmentBytes%4096 != 0 || c.SegmentBytes > 1<<30 || c.LogBytes < 0:
		return errors.New("raft host: log size out of range")
	}
	return nil
}

func (c *Config) setDefaults() {
	c.TickInterval = cmp.Or(c.TickInterval, 100*time.Millisecond)
	c.ElectionTicks = cmp.Or(c.ElectionTicks, 10)
	c.ApplyDelay = cmp.Or(c.ApplyDelay, 20*time.Millisecond)
	c.LogBytes = cmp.Or(c.LogBytes, 32<<20)
	c.SegmentBytes = cmp.Or(c.SegmentBytes, 4<<20)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.disk.write == nil {
		c.disk = realDisk()
	}
}
