package main

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/bench/linear"
	"kintsugi/internal/rpc"
	"kintsugi/internal/simnet"
	"kintsugi/meta"
)

var (
	simSeed  = flag.Int64("sim.seed", -1, "replay the simulation of this seed")
	simSeeds = flag.Int("sim.seeds", 4, "how many seeds to simulate")
	simFrom  = flag.Int64("sim.from", 0, "the first seed")
)

// TestSimulation runs a cluster of eleven processes (three of metadata, six storage nodes, two gateways; 4+2) under
// clients and faults from a seed, in virtual time. Seeds that divide by three do their worst, and nothing may be lost, wrong or out of
// order; with the others never more than two storage nodes and one metadata node suffer at once, and no client may see an error.
func TestSimulation(t *testing.T) {
	if *simSeed >= 0 {
		synctest.Test(t, func(t *testing.T) { simulate(t, uint64(*simSeed)) })
		return
	}
	for i := range int64(*simSeeds) {
		t.Run(fmt.Sprint(*simFrom+i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { simulate(t, uint64(*simFrom+i)) })
		})
	}
}

func simulate(t *testing.T, seed uint64) {
	c := &simClients{simCluster: startSim(t, seed), history: map[string][]linear.Op{}}
	if err := c.running("g1").meta.CreateBucket(t.Context(), meta.Bucket{Name: simBucket}); err != nil {
		t.Fatal(err)
	}
	stop := c.run(5)
	if seed%3 == 0 {
		c.storm()
	} else {
		c.trials()
	}
	c.heal()
	c.awaitReady(time.Minute)
	time.Sleep(5 * time.Second)
	stop()
	c.whole(5 * time.Minute)
	c.check()
	c.auditDrives()
	if seed%3 != 0 && len(c.failures) > 0 {
		t.Errorf("%d operations failed, the first: %s", len(c.failures), c.failures[0])
	}
	c.tell()
}

// tell sums up what happened.
func (c *simClients) tell() {
	ops, lost := 0, 0
	for _, h := range c.history {
		for _, op := range h {
			ops++
			if op.Lost {
				lost++
			}
		}
	}
	c.t.Logf("seed %d: %d operations, %d without an answer, %d failed; %v of virtual time", c.seed, ops, lost, len(c.failures), time.Since(c.began).Round(time.Second))
}

// storm disturbs anything at any time.
func (c *simClients) storm() {
	all := c.names(rpc.Gateway | rpc.Storage | rpc.Meta)
	for range 40 {
		time.Sleep(time.Duration(c.rand.IntN(2000)) * time.Millisecond)
		c.disturb(all[c.rand.IntN(len(all))], all)
	}
}

// trials lets a few processes suffer at a time, and waits until the cluster is whole before it chooses others.
func (c *simClients) trials() {
	for range 3 {
		storage, metas := c.names(rpc.Storage), c.names(rpc.Meta)
		c.rand.Shuffle(len(storage), func(i, j int) { storage[i], storage[j] = storage[j], storage[i] })
		victims := append(storage[:1+c.rand.IntN(2)], metas[c.rand.IntN(len(metas))])
		c.note("victims %v", victims)
		for range 10 {
			time.Sleep(time.Duration(c.rand.IntN(2500)) * time.Millisecond)
			c.disturb(victims[c.rand.IntN(len(victims))], c.names(rpc.Gateway|rpc.Storage|rpc.Meta))
		}
		c.heal()
		c.awaitReady(time.Minute)
		c.whole(5 * time.Minute)
	}
}

// disturb does one thing to a process, or to its links with others.
func (c *simCluster) disturb(name string, others []string) {
	p := c.processes[name]
	other := c.processes[others[c.rand.IntN(len(others))]]
	if c.running(name) == nil {
		c.note("start %s", name)
		c.net.Thaw(p.ip)
		c.start(name)
		return
	}
	switch c.rand.IntN(12) {
	case 0, 1:
		c.note("kill %s", name)
		c.crash(name, false)
	case 2:
		c.note("power off %s", name)
		c.crash(name, true)
	case 3, 4:
		c.note("freeze %s", name)
		c.net.Freeze(p.ip)
	case 5, 6:
		c.note("thaw %s", name)
		c.net.Thaw(p.ip)
	case 7:
		c.note("isolate %s", name)
		for _, o := range c.processes {
			c.net.Cut(p.ip, o.ip)
			c.net.Cut(o.ip, p.ip)
		}
	case 8:
		c.note("cut %s -> %s", name, other.name)
		c.net.Cut(p.ip, other.ip)
	case 9:
		c.note("mend %s", name)
		for _, o := range c.processes {
			c.net.Mend(p.ip, o.ip)
			c.net.Mend(o.ip, p.ip)
		}
	case 10:
		c.note("reset %s, %s", name, other.name)
		c.net.Reset(p.ip, other.ip)
	case 11:
		c.slow(p, other)
	}
}

// slow makes the way to a process slow and unreliable.
func (c *simCluster) slow(p, other *simProcess) {
	l := simnet.Link{
		Latency: time.Duration(1+c.rand.IntN(40)) * time.Millisecond, Jitter: 20 * time.Millisecond,
		Loss: c.rand.Float64() / 5, BytesPerSecond: 1 << (17 + c.rand.IntN(8)),
	}
	c.note("link %s -> %s: %+v", other.name, p.name, l)
	c.net.SetLink(other.ip, p.ip, l)
}

// calm makes all links fast again.
func (c *simCluster) calm() {
	c.net.SetLinks(simnet.Link{Latency: 100 * time.Microsecond, Jitter: 100 * time.Microsecond})
}
