package chaos

import (
	"errors"
	"fmt"
	"io"
	"time"

	"kintsugi/bench/chaos/scenario"
)

// Config is a run.
type Config struct {
	Scenario scenario.Scenario
	Seed     uint64
	Duration time.Duration // the schedule is repeated until so much time of load is over; 0: once
	Out      string        // directory of the report; "": none is written
	Dir      string        // of the cluster's files; "": a temporary one, which is removed
	Keep     bool          // leave the files there
	Replay   string        // the command that makes this run again

	Program string // the kintsugi binary, for a cluster that is started here

	// FaultyDrives are the arguments with which Program serves drives that can be ill, for scenarios that want them.
	FaultyDrives []string

	OwnNetwork bool // this process is in a network namespace of its own, where packets may be dropped

	// A cluster that runs already, instead:
	Endpoints    []string
	AccessKey    string
	SecretKey    string
	Region       string
	Bucket       string
	FaultCommand string // with {fault} and {node}; "": no faults

	Stdout io.Writer
	TTY    bool // Stdout is a terminal
	Width  int  // of the terminal, in columns; 0: not known

	HealLimit time.Duration // how long the cluster may take to mend itself after a fault; 0: two minutes
	Settle    time.Duration // how long one that cannot say that it is mended is given; 0: ten seconds
}

// foreign tells whether the cluster was started by somebody else.
func (c *Config) foreign() bool { return len(c.Endpoints) > 0 }

// withDefaults fills in what was left out.
func (c Config) withDefaults() (Config, error) {
	if c.HealLimit == 0 {
		c.HealLimit = 2 * time.Minute
	}
	if c.Settle == 0 {
		c.Settle = 10 * time.Second
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Bucket == "" {
		c.Bucket = fmt.Sprintf("chaos-%d-%d", c.Seed, time.Now().Unix())
	}
	if c.Stdout == nil {
		c.Stdout = io.Discard
	}
	switch {
	case !c.foreign() && c.Program == "":
		return c, errors.New("chaos: neither a program to start nor an endpoint")
	case c.foreign() && c.AccessKey == "":
		return c, errors.New("chaos: keys for the endpoint are needed: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	return c, nil
}
