package raftgroup

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

func TestOneHost(t *testing.T) {
	start := time.Now()
	c := startCluster(t, 3, 7)
	if d := time.Since(start); d > 300*time.Millisecond {
		t.Errorf("ready after %v", d)
	}
	for i := range 20 {
		got, err := c.hosts[7].Propose(t.Context(), uint32(i%3), []byte(fmt.Sprint("command ", i)))
		must(t, err)
		if want := i/3 + 1; got != want {
			t.Errorf("result %v, want %d", got, want)
		}
	}
	if _, err := c.hosts[7].Propose(t.Context(), 0, []byte("refuse")); !errors.Is(err, errRefused) {
		t.Errorf("refused command: %v", err)
	}
	c.close(7)
	c.open(7)
	c.lead(7)
	if n := len(c.machines[7].commands(1)); n != 7 {
		t.Errorf("%d commands after restart, want 7", n)
	}
}

func TestFiveHosts(t *testing.T) {
	start := time.Now()
	c := startCluster(t, 8, 1, 2, 3, 4, 5)
	if d := time.Since(start); d > time.Second {
		t.Errorf("ready after %v", d)
	}
	for i := range 64 {
		c.put(uint32(i%8), fmt.Sprint("command ", i))
	}
	c.same(1, 2, 3, 4, 5)
	_, err := c.hosts[3].Propose(t.Context(), 0, []byte("x"))
	var not *NotLeaderError
	if !errors.As(err, &not) || not.Leader != 1 {
		t.Errorf("propose to a follower: %v", err)
	}
	if err := c.hosts[3].ReadBarrier(t.Context(), 0); !errors.As(err, &not) {
		t.Errorf("read from a follower: %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	good := Config{ID: 1, Dir: "d", Groups: 1, Machine: newListMachine(), Transport: NewMemory()}
	must(t, good.Validate())
	tests := map[string]func(*Config){
		"no id":          func(c *Config) { c.ID = 0 },
		"no directory":   func(c *Config) { c.Dir = "" },
		"no groups":      func(c *Config) { c.Groups = 0 },
		"no machine":     func(c *Config) { c.Machine = nil },
		"no transport":   func(c *Config) { c.Transport = nil },
		"election ticks": func(c *Config) { c.ElectionTicks = 1 },
		"odd segment":    func(c *Config) { c.SegmentBytes = 5000 },
	}
	for name, spoil := range tests {
		c := good
		spoil(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := Open(c); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// TestSameIDTwice refuses a second replica with the id of a running one, and opens it after that has closed.
func TestSameIDTwice(t *testing.T) {
	c := startCluster(t, 1, 1)
	cfg := c.config(1)
	cfg.Dir, cfg.Machine = filepath.Join(c.dir, "other"), newListMachine()
	if _, err := Open(cfg); err == nil {
		t.Error("opened")
	}
	c.close(1)
	c.open(1)
	c.put(0, "a")
}

func TestProposeRefused(t *testing.T) {
	c := startCluster(t, 1, 1)
	h := c.hosts[1]
	if _, err := h.Propose(t.Context(), 0, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("empty command: %v", err)
	}
	if _, err := h.Propose(t.Context(), 0, make([]byte, MaxCommandBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large command: %v", err)
	}
	if _, err := h.Propose(t.Context(), 1, []byte("x")); err == nil {
		t.Error("command for a group that is not there")
	}
	if _, err := h.Propose(t.Context(), 0, make([]byte, MaxCommandBytes)); err != nil {
		t.Errorf("largest command: %v", err)
	}
	c.close(1)
	if _, err := h.Propose(t.Context(), 0, []byte("x")); !errors.Is(err, ErrStopped) {
		t.Errorf("closed host: %v", err)
	}
	c.open(1)
	c.put(0, "after the largest")
}

// TestInboxBound loses messages rather than to queue without bound.
func TestInboxBound(t *testing.T) {
	h := &Host{inbox: newInbox()}
	batch := make([]Envelope, maxInboxMessages)
	must(t, h.Receive(batch))
	if err := h.Receive(batch[:1]); !errors.Is(err, ErrUnreachable) {
		t.Errorf("one too many: %v", err)
	}
	var w work
	h.inbox.take(&w)
	if len(w.messages) != maxInboxMessages {
		t.Errorf("%d messages", len(w.messages))
	}
	must(t, h.Receive(batch[:1]))
}
