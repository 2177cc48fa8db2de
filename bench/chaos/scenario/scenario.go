package scenario

import (
	"time"

	"kintsugi/bench/chaos/history"
)

// Scenario is a run, described.
type Scenario struct {
	Name    string
	Proves  string // a sentence: what a run that passes has shown
	Cluster Cluster
	Load    Load
	Steps   []Step
	Rest    time.Duration // of load after the last fault
}

// Cluster is what is started.
type Cluster struct {
	Nodes    int // that keep shards
	Metas    int
	Gateways int
	Code     Code
	OutAfter time.Duration // until a lost drive is given up
	// KeepDeleted is how long deleted bodies stay on the drives: short, so that a body that goes too early is noticed.
	KeepDeleted time.Duration
	// Disk is the size in bytes of the file system of every drive; 0: that of the directory. A size needs root.
	Disk int64
}

// Code is data and parity shards of a chunk.
type Code struct{ K, M int }

// Load is what the clients do.
type Load struct {
	Clients int
	Rate    float64 // operations per second; 0: as fast as they are answered
	Keys    int
	Timeout time.Duration
	Mix     map[history.Kind]float64
	Sizes   []SizeShare
}

// SizeShare is how often sizes of a range come, in bytes.
type SizeShare struct {
	Min, Max int64
	Share    float64
}

// Step is a fault and when it happens.
type Step struct {
	Line    int // in the file
	At      Moment
	Fault   Fault
	Nodes   Selector
	For     time.Duration // until it is undone; 0 for those that need no undoing: until the cluster is mended at the end
	Every   time.Duration // with Times: the pause between the begins
	Times   int           // 1 if not repeated
	Count   int           // of flips, files, new nodes, clients or connections
	Where   string        // "shards" or "metadata": which files are damaged
	Allowed string        // which failures of requests are allowed: none, honest or any
	By      time.Duration // by how much a drive is slower
	Share   float64       // of reads or writes that fail, from 0 to 1
}

// Moment is so long after something.
type Moment struct {
	Since Since
	After time.Duration
}

// Since is what a moment counts from, as it is written.
type Since string

const (
	Began   Since = ""        // the load, or the round of a schedule that is repeated
	Then    Since = "then"    // the step before began
	Rebuilt Since = "rebuilt" // every chunk has all its shards again although nodes are away
	Healed  Since = "healed"  // everything before is undone, and every chunk has all its shards
)

// String is a moment as it is written.
func (m Moment) String() string {
	if m.Since != Began {
		return string(m.Since) + "+" + m.After.String()
	}
	return m.After.String()
}

// Fault is what is done to nodes, to the cluster as a whole, or to those that serve requests.
type Fault string

const (
	Kill     Fault = "kill"     // kill -9, and start again after `for`
	Stop     Fault = "stop"     // SIGSTOP, and SIGCONT after `for`
	Slow     Fault = "slow"     // SIGSTOP and SIGCONT by turns, so that the process has a small part of its time
	Restart  Fault = "restart"  // SIGTERM, and start as soon as it has ended
	Wipe     Fault = "wipe"     // kill -9, empty its drives, start
	Rollback Fault = "rollback" // its drives are copied at once, and put back after `for`: a restored snapshot
	Swap     Fault = "swap"     // kill two, swap their drives, start
	Flip     Fault = "flip"     // flip bits in its files while it runs
	Truncate Fault = "truncate" // kill -9, cut the ends off its newest files, start
	Fill     Fault = "fill"     // fill its drives to the last byte, and free them after `for`
	Cut      Fault = "cut"      // no packets from or to it
	Mute     Fault = "mute"     // no packets from it, but all to it
	Lossy    Fault = "lossy"    // three of ten packets from it are lost
	Reset    Fault = "reset"    // every packet from it ends its connection
	Narrow   Fault = "narrow"   // its packets have to go through a line of 1 Mbit/s
	Grow     Fault = "grow"     // so many new storage nodes join
	Drain    Fault = "drain"    // its shards are moved to the others, and it is removed for ever
	Scrub    Fault = "scrub"    // every drive is told to read all its shards
	Clone    Fault = "clone"    // copies of its drives try to join for so long
	Stranger Fault = "stranger" // who is not of this cluster tries to join for so long
	Vanish   Fault = "vanish"   // so many clients go away in the middle of requests, again and again
	Crawl    Fault = "crawl"    // so many clients send and read a few bytes at a time
	Crowd    Fault = "crowd"    // so many connections on which nothing or little is said

	Delay       Fault = "delay"        // every read, write and sync of its drives takes so much longer
	ReadErrors  Fault = "read-errors"  // its drives answer EIO to reads
	WriteErrors Fault = "write-errors" // its drives answer EIO to writes and syncs
	PowerCut    Fault = "power-cut"    // kill -9, what its drives had not synced is lost, and start again after `for`
	LostSyncs   Fault = "lost-syncs"   // its drives do not sync but say so, then kill -9, all that is lost, start
	LostWrites  Fault = "lost-writes"  // its drives acknowledge so many writes that they do not make
	Misdirected Fault = "misdirected"  // its drives make so many writes in the wrong place
)

// NeedsNetwork tells whether there are faults that need a network of the run's own.
func (s *Scenario) NeedsNetwork() bool {
	for _, step := range s.Steps {
		switch step.Fault {
		case Cut, Mute, Lossy, Reset, Narrow:
			return true
		}
	}
	return false
}

// NeedsFaultyDrives tells whether there are faults that need drives that can be ill.
func (s *Scenario) NeedsFaultyDrives() bool {
	for _, step := range s.Steps {
		switch step.Fault {
		case Delay, ReadErrors, WriteErrors, PowerCut, LostSyncs, LostWrites, Misdirected:
			return true
		}
	}
	return false
}

// faults are all of them, with what each needs.
var faults = map[Fault]struct{ lasts, counts, nobody bool }{
	Delay: {lasts: true}, ReadErrors: {lasts: true}, WriteErrors: {lasts: true}, PowerCut: {lasts: true}, LostSyncs: {lasts: true},
	LostWrites: {lasts: true, counts: true}, Misdirected: {lasts: true, counts: true},
	Kill: {lasts: true}, Stop: {lasts: true}, Slow: {lasts: true}, Restart: {}, Wipe: {}, Rollback: {lasts: true}, Swap: {},
	Flip: {counts: true}, Truncate: {counts: true}, Fill: {lasts: true}, Cut: {lasts: true}, Mute: {lasts: true}, Lossy: {lasts: true}, Reset: {lasts: true},
	Narrow: {lasts: true}, Grow: {counts: true, nobody: true}, Drain: {}, Scrub: {nobody: true}, Clone: {lasts: true}, Stranger: {lasts: true, nobody: true},
	Vanish: {lasts: true, counts: true, nobody: true}, Crawl: {lasts: true, counts: true, nobody: true}, Crowd: {lasts: true, counts: true, nobody: true},
}
