package report

import (
	"time"

	"kintsugi/bench/chaos/oracle"
)

// Format is the version of Data.
const Format = 1

// Data is a run. It is report.json, whose field names stay as they are. Times are in seconds since the clients began, unless they say
// otherwise; sizes are in bytes.
type Data struct {
	Format   int              `json:"format"`
	Scenario string           `json:"scenario"`
	Proves   string           `json:"proves"`
	Seed     uint64           `json:"seed"`
	Replay   string           `json:"replay"` // the command that makes the same run again
	Began    time.Time        `json:"began"`
	Seconds  float64          `json:"seconds"` // of load
	Total    float64          `json:"totalSeconds"`
	Cluster  Cluster          `json:"cluster"`
	Result   Result           `json:"result"`
	Early    bool             `json:"brokenOff,omitempty"` // somebody ended the run before its time
	Verdicts []oracle.Verdict `json:"verdicts"`
	Faults   []Fault          `json:"faults"`
	Kinds    []Kind           `json:"operations"`
	Errors   []ErrorGroup     `json:"errors"`
	Timeline Timeline         `json:"timeline"`
	Samples  []Sample         `json:"samples"` // of what the cluster says of itself
}

// Result is how a run ended.
type Result string

const (
	Passed  Result = "passed"
	Failed  Result = "failed"
	Skipped Result = "skipped" // there was no fault that could be injected, so nothing is proved
	Broken  Result = "broken off"
)

// NewResult is the result of what is in d.
func (d *Data) NewResult() Result {
	injected := 0
	for _, f := range d.Faults {
		switch f.Status {
		case Injected:
			injected++
		case FaultNotThere:
			return Failed
		}
	}
	for _, v := range d.Verdicts {
		if v.Status == oracle.Failed || v.Status == oracle.Undecided {
			return Failed
		}
	}
	switch {
	case d.Early:
		return Broken
	case injected == 0 && len(d.Faults) > 0:
		return Skipped
	}
	return Passed
}

// Cluster is what was under test.
type Cluster struct {
	Endpoint string `json:"endpoint,omitempty"` // of a cluster that was not started here
	Nodes    int    `json:"nodes"`
	Metas    int    `json:"metas"`
	Gateways int    `json:"gateways"`
	K        int    `json:"k"`
	M        int    `json:"m"`
	Cores    int    `json:"cores"` // of the machine, which the clients use, too
}

// Fault is what was done to the cluster, and what came of it.
type Fault struct {
	Number   int      `json:"number"`
	Fault    string   `json:"fault"`
	Wanted   string   `json:"wanted"` // as the scenario says it
	Nodes    []string `json:"nodes"`
	Status   string   `json:"status"` // injected, skipped, failed
	Reason   string   `json:"reason,omitempty"`
	Allowed  string   `json:"allowed"` // which failures are: none, honest, any
	Begin    float64  `json:"begin"`
	End      float64  `json:"end"`
	Detected *float64 `json:"detectedAfter,omitempty"` // the cluster holds the nodes for down, seconds after Begin
	Restored *float64 `json:"restoredAfter,omitempty"` // every chunk has all its shards, seconds after Begin
	// Of the requests between Begin and the end of the recovery, or of some seconds after End.
	Requests int     `json:"requests"`
	Errors   int     `json:"errors"`
	Worst    float64 `json:"worstSeconds"`
	P99      float64 `json:"p99Seconds"`
}

// How a fault went.
const (
	Injected      = "injected"
	FaultSkipped  = "skipped"
	FaultNotThere = "failed"
)

// Kind sums up the operations of one kind.
type Kind struct {
	Kind   string  `json:"kind"`
	Count  int     `json:"count"`
	Errors int     `json:"errors"`
	Bytes  int64   `json:"bytes"`
	P50    float64 `json:"p50Seconds"`
	P99    float64 `json:"p99Seconds"`
	P999   float64 `json:"p999Seconds"`
	Max    float64 `json:"maxSeconds"`
}

// ErrorGroup counts failures of the same kind.
type ErrorGroup struct {
	Kind    string  `json:"kind"`
	Outcome string  `json:"outcome"`
	Status  int     `json:"status,omitempty"`
	Count   int     `json:"count"`
	Allowed int     `json:"allowed"` // of them, during faults that allow them
	First   float64 `json:"first"`
	Text    string  `json:"text,omitempty"`
}

// Timeline has a figure per bucket in each list. Requests count when they end.
type Timeline struct {
	BucketSeconds float64   `json:"bucketSeconds"`
	Requests      []int     `json:"requests"`
	Errors        []int     `json:"errors"`
	Bytes         []int64   `json:"bytes"`
	P50           []float32 `json:"p50Seconds"`
	P99           []float32 `json:"p99Seconds"`
	P999          []float32 `json:"p999Seconds"`
}

// Sample is the state of the cluster at a time.
type Sample struct {
	At         float64  `json:"at"`
	Took       float64  `json:"tookSeconds"` // until the cluster had answered
	Up         int      `json:"up"`
	Nodes      int      `json:"nodes"`
	ByLost     []uint64 `json:"byLost"` // chunks that lack so many shards
	Unreadable uint64   `json:"unreadable"`
	Pending    int      `json:"pendingShards"`
	Read       float64  `json:"repairReadBytes"`    // by all nodes since the run began
	Written    float64  `json:"repairWrittenBytes"` // the same
	Silent     bool     `json:"silent,omitempty"`   // the cluster did not answer: nothing else is known
}
