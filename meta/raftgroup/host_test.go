package raftgroup

import (
	"errors"
	"fmt"
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
