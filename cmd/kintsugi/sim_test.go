package main

import (
	"errors"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/bench/chaos/history"
	"kintsugi/internal/rpc"
	"kintsugi/meta"
)

var (
	simSeed  = flag.Int64("sim.seed", -1, "replay the simulation of this seed")
	simSeeds = flag.Int("sim.seeds", 3, "how many seeds to simulate")
	simFrom  = flag.Uint64("sim.from", 0, "the first seed")
)

// TestSimulation runs a cluster of eleven processes (three of metadata, six storage nodes, two gateways; 4+2) under
// clients and faults from a seed, in virtual time. Seeds that divide by three do their worst, and nothing may be lost, wrong or out of
// order; with the others never more than two storage nodes and one metadata node suffer at once, and no client may see an error.
func TestSimulation(t *testing.T) {
	if *simSeed >= 0 {
		synctest.Test(t, func(t *testing.T) { simulate(t, uint64(*simSeed)) })
		return
	}
	for i := range uint64(*simSeeds) {
		t.Run(fmt.Sprint(*simFrom+i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { simulate(t, *simFrom+i) })
		})
	}
}

func newSimClients(t *testing.T, seed uint64) *simClients {
	c := startSim(t, seed)
	return &simClients{simCluster: c, seen: history.NewLog(c.began)}
}

func simulate(t *testing.T, seed uint64) {
	c := newSimClients(t, seed)
	if err := c.running("g1").meta.CreateBucket(t.Context(), meta.Bucket{Name: simBucket}); err != nil {
		t.Fatal(err)
	}
	stop := c.run(5)
	if seed%3 == 0 {
		c.storm()
	} else {
		c.trial()
	}
	c.heal()
	c.awaitReady(time.Minute)
	c.scrub()
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
	ops, lost := c.seen.Snapshot().Ops, 0
	for i := range ops {
		if ops[i].Outcome.Failed() {
			lost++
		}
	}
	c.t.Logf("seed %d: %d operations, %d without an answer, %d failed; %v of virtual time", c.seed, len(ops), lost, len(c.failures), time.Since(c.began).Round(time.Second))
}

// storm disturbs anything at any time.
func (c *simClients) storm() {
	all := c.names(rpc.Gateway | rpc.Storage | rpc.Meta)
	for range 25 {
		time.Sleep(time.Duration(c.rand.IntN(2000)) * time.Millisecond)
		c.disturb(all[c.rand.IntN(len(all))], all)
	}
}

// trial lets a few processes suffer, until the cluster is whole again.
func (c *simClients) trial() {
	storage, metas := c.names(rpc.Storage), c.names(rpc.Meta)
	c.rand.Shuffle(len(storage), func(i, j int) { storage[i], storage[j] = storage[j], storage[i] })
	c.victims = append(storage[:1+c.rand.IntN(2)], metas[c.rand.IntN(len(metas))])
	c.note("victims %v", c.victims)
	for range 15 {
		time.Sleep(time.Duration(c.rand.IntN(2500)) * time.Millisecond)
		// Who cannot reach a leader that all others reach gets no answers: a gateway and a metadata node are not cut apart.
		c.disturb(c.victims[c.rand.IntN(len(c.victims))], c.names(rpc.Storage|rpc.Meta))
	}
}

// TestLateWritesAreFenced stops a storage node with writes on their way to it, for longer than its lease. When it goes on it refuses them.
func TestLateWritesAreFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimClients(t, 1)
		g := c.running("g1")
		if err := g.meta.CreateBucket(t.Context(), meta.Bucket{Name: simBucket}); err != nil {
			t.Fatal(err)
		}
		for i := range 2 * simKeys {
			if i == simKeys { // there are connections to it now
				c.net.Freeze(c.processes["n1"].ip)
			}
			if err := simPut(t.Context(), g, simKey(i%simKeys), uint32(i+1), meta.Condition{}); err != nil {
				t.Errorf("%s: %v", simKey(i%simKeys), err)
			}
		}
		time.Sleep(5 * time.Second)
		before := c.fenced("n1")
		c.net.Thaw(c.processes["n1"].ip)
		c.await("late writes are refused", 10*time.Second, func() error {
			if n := c.fenced("n1") - before; n == 0 {
				return errors.New("none was")
			}
			return nil
		})
	})
}

// fenced returns how many writes a storage node has refused because it may be out of date.
func (c *simCluster) fenced(name string) (sum float64) {
	c.t.Helper()
	families, err := c.running(name).metrics.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "kintsugi_storagenode_fenced_writes_total" {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
