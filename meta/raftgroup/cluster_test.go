package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// cluster is a number of hosts on directories of one test.
type cluster struct {
	t        testing.TB
	dir      string
	groups   int
	net      *Memory
	first    []uint64
	hosts    map[uint64]*Host
	machines map[uint64]*listMachine
	tune     func(*Config)
}

func newCluster(t testing.TB, groups int, ids ...uint64) *cluster {
	return &cluster{
		t: t, dir: t.TempDir(), groups: groups, net: NewMemory(), first: ids,
		hosts: map[uint64]*Host{}, machines: map[uint64]*listMachine{},
	}
}

// startCluster opens the hosts and has the first lead every group.
func startCluster(t testing.TB, groups int, ids ...uint64) *cluster {
	c := newCluster(t, groups, ids...)
	for _, id := range ids {
		c.open(id)
	}
	c.lead(ids[0])
	return c
}

func (c *cluster) config(id uint64) Config {
	if c.machines[id] == nil {
		c.machines[id] = newListMachine()
	}
	cfg := Config{
		ID: id, Dir: filepath.Join(c.dir, fmt.Sprint(id)), Groups: c.groups,
		Machine: c.machines[id], Transport: c.net, SegmentBytes: 64 << 10, LogBytes: 1 << 20,
	}
	if slices.Contains(c.first, id) {
		cfg.Bootstrap = c.first
	}
	if c.tune != nil {
		c.tune(&cfg)
	}
	return cfg
}

func (c *cluster) open(id uint64) *Host {
	c.t.Helper()
	h, err := Open(c.config(id))
	if err != nil {
		c.t.Fatalf("open %d: %v", id, err)
	}
	c.hosts[id] = h
	c.t.Cleanup(func() { h.Close() })
	return h
}

func (c *cluster) close(id uint64) {
	c.t.Helper()
	if err := c.hosts[id].Close(); err != nil {
		c.t.Errorf("close %d: %v", id, err)
	}
	delete(c.hosts, id)
}

// kill ends a host as a crash of its process would: no clean end, and the state loses what was not synced.
func (c *cluster) kill(id uint64) {
	h := c.hosts[id]
	h.fail(errors.New("killed"))
	<-h.done
	c.machines[id].crash()
	delete(c.hosts, id)
}

// lead has id lead every group.
func (c *cluster) lead(id uint64) {
	c.t.Helper()
	ctx := c.t.Context()
	for g := range c.groups {
		if err := c.hosts[id].Campaign(ctx, uint32(g)); err != nil {
			c.t.Fatal(err)
		}
	}
	c.eventually("leadership", func() error {
		for g := range c.groups {
			err := c.hosts[id].ReadBarrier(ctx, uint32(g))
			var not *NotLeaderError
			if errors.As(err, &not) && not.Leader != 0 {
				// Another had newer entries.
				c.hosts[not.Leader].Transfer(ctx, uint32(g), id)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// eventually polls until f succeeds.
func (c *cluster) eventually(what string, f func() error) {
	c.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// leader returns a host that leads group.
func (c *cluster) leader(group uint32) *Host {
	c.t.Helper()
	var found *Host
	c.eventually("a leader", func() error {
		for id, h := range c.hosts {
			if h.groups[group].tenure.Load() != nil && h.Leader(group) == id {
				found = h
				return nil
			}
		}
		return errors.New("none")
	})
	return found
}

// put proposes data to whoever leads until it is executed.
func (c *cluster) put(group uint32, data string) {
	c.t.Helper()
	c.eventually("put", func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.leader(group).Propose(ctx, group, []byte(data))
		return err
	})
}

// same waits until all hosts have executed the same commands as the first in ids.
func (c *cluster) same(ids ...uint64) {
	c.t.Helper()
	c.eventually("equal states", func() error {
		for g := range uint32(c.groups) {
			want := c.machines[ids[0]].commands(g)
			for _, id := range ids[1:] {
				if got := c.machines[id].commands(g); !slices.Equal(got, want) {
					return fmt.Errorf("group %d: replica %d has %d commands, %d has %d", g, ids[0], len(want), id, len(got))
				}
			}
		}
		return nil
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func logFiles(t testing.TB, dir string) []string {
	t.Helper()
	ids, _, err := listSegments(dir)
	must(t, err)
	var paths []string
	for _, id := range ids {
		paths = append(paths, segmentPath(dir, id))
	}
	return paths
}

func flip(t testing.TB, path string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, offset)
	must(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b, offset)
	must(t, err)
}
