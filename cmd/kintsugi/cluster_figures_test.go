package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kintsugi/bench"
)

// usage is what processes use, all together.
type usage struct {
	cpu      time.Duration
	rss, pss int64 // bytes; pss shares out what several of them have mapped
}

// usageOf reads /proc. Who is dead uses nothing.
func usageOf(pids []int) (u usage) {
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		for _, field := range fields[11:13] { // user and system time
			ticks, err := strconv.Atoi(string(field))
			if err == nil {
				u.cpu += time.Duration(ticks) * 10 * time.Millisecond
			}
		}
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(rollup)) {
			var kB int64
			if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kB); n == 1 {
				u.rss += kB << 10
			} else if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kB); n == 1 {
				u.pss += kB << 10
			}
		}
	}
	return u
}

func (c *testCluster) pids() (pids []int) {
	for _, p := range c.processes() {
		pids = append(pids, p.PID)
	}
	return pids
}

// contestant is one of the stores that take turns.
type contestant struct {
	name     string
	endpoint string
	pids     []int
}

// turn is what one phase of a benchmark showed.
type turn struct {
	perSecond, cpuMs, p50, p99 float64
	peak                       usage
}

// takeTurn puts load on one of them and measures all its processes.
func takeTurn(t *testing.T, who contestant, op bench.Operation, sizeBytes int64, workers int, reuse bool, d time.Duration) turn {
	t.Helper()
	config := bench.Config{
		Operation: op, Endpoint: who.endpoint, AccessKey: testAccessKey, SecretKey: testSecretKey, SizeBytes: sizeBytes,
		Workers: workers, Duration: d, Reuse: reuse, Objects: 64, Verify: op == bench.Get,
	}
	if op == bench.Put {
		config.Objects = 256
	}
	before := usageOf(who.pids)
	report, err := bench.Run(t.Context(), config)
	after := usageOf(who.pids)
	if err != nil {
		t.Fatal(err)
	}
	row := report.Phases[len(report.Phases)-1].Rows[0]
	if n := report.Errors(); n > 0 {
		t.Errorf("%s: %d errors: %v", who.name, n, row.ErrorKinds)
	}
	return turn{
		perSecond: row.PerSecond, p50: row.P50Ms, p99: row.P99Ms, peak: after,
		cpuMs: float64(after.cpu-before.cpu) / 1e6 / float64(max(row.Count, 1)),
	}
}

// median returns the turn with the median processor time.
func median(turns []turn) turn {
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Compare(a.cpuMs, b.cpuMs) })
	return turns[len(turns)/2]
}

// TestClusterFigures prints what a cluster of nine servers costs compared with one process, in turns. It judges
// nothing unless FULL is set: other work on the machine would decide.
func TestClusterFigures(t *testing.T) {
	if !isFull() {
		t.Skip("takes minutes; FULL=1")
	}
	c := startCluster(t, devShape{servers: 9})
	one := startProcess(t, tempDrives(t, 9), "--ec", "4+2")
	contestants := []contestant{
		{"one process", one.endpoint, []int{one.cmd.Process.Pid}},
		{"nine processes", c.endpoints()[0], c.pids()},
	}
	for _, who := range contestants {
		u := usageOf(who.pids)
		figure(t, "%-14s at the start: RSS %.0f MB, PSS %.0f MB", who.name, float64(u.rss)/1e6, float64(u.pss)/1e6)
	}
	idle := usageOf(c.pids()).cpu
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	<-ctx.Done()
	cancel()
	figure(t, "idle: %.1f ms of CPU per second", float64(usageOf(c.pids()).cpu-idle)/5e6)

	peak := map[string]usage{}
	var table strings.Builder
	fmt.Fprintf(&table, "%-16s %-15s %10s %9s %9s %10s\n", "", "", "per second", "p50 ms", "p99 ms", "CPU ms")
	for _, w := range []struct {
		name    string
		op      bench.Operation
		size    int64
		workers int
	}{
		{"PUT 4 KiB", bench.Put, 4 << 10, 16}, {"GET 4 KiB", bench.Get, 4 << 10, 16},
		{"PUT 128 KiB", bench.Put, 128 << 10, 16}, {"GET 128 KiB", bench.Get, 128 << 10, 16},
		{"PUT 10 MiB", bench.Put, 10 << 20, 8}, {"GET 10 MiB", bench.Get, 10 << 20, 8},
	} {
		turns := map[string][]turn{}
		if w.op == bench.Get { // the objects are written outside of what is measured
			for _, who := range contestants {
				takeTurn(t, who, w.op, w.size, w.workers, false, time.Second)
			}
		}
		for range 3 {
			for _, who := range contestants {
				got := takeTurn(t, who, w.op, w.size, w.workers, w.op == bench.Get, 4*time.Second)
				turns[who.name] = append(turns[who.name], got)
				p := peak[who.name]
				peak[who.name] = usage{rss: max(p.rss, got.peak.rss), pss: max(p.pss, got.peak.pss)}
			}
		}
		var cpu [2]float64
		for i, who := range contestants {
			m := median(turns[who.name])
			cpu[i] = m.cpuMs
			fmt.Fprintf(&table, "%-16s %-15s %10.0f %9.2f %9.2f %10.3f\n", w.name, who.name, m.perSecond, m.p50, m.p99, m.cpuMs)
		}
		ratio := cpu[1] / cpu[0]
		fmt.Fprintf(&table, "%-16s %-15s %41.2f\n", "", "times the CPU", ratio)
		if ratio > 1.6 {
			t.Errorf("%s: nine processes use %.2f times the CPU of one, want 1.6 at most", w.name, ratio)
		}
	}
	for _, who := range contestants {
		u := peak[who.name]
		fmt.Fprintf(&table, "%-32s RSS %.0f MB, PSS %.0f MB at most\n", who.name, float64(u.rss)/1e6, float64(u.pss)/1e6)
	}
	if rss := peak["nine processes"].rss; rss > 600e6 {
		t.Errorf("nine processes have %d MB resident, want 600 at most", rss/1e6)
	}
	figure(t, "\n%s", table.String())
}
