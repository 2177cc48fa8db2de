package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of processor time in /proc on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// processCPU returns the processor time that a process has used, all threads together.
func processCPU(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(stat)
}

// parseStat reads utime and stime, fields 14 and 15. The second field is a name in
// parentheses that may hold anything, so fields are counted after its end.
func parseStat(stat []byte) (time.Duration, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("bench: /proc stat has %d fields", len(fields))
	}
	user, err := strconv.ParseInt(string(fields[11]), 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * clockTick, err
}

// processRSS returns the memory in bytes that a process has resident.
func processRSS(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0, fmt.Errorf("bench: /proc statm has %d fields", len(fields))
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// ownCPU returns the processor time of this process.
func ownCPU() time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// meter follows what processes use during one phase.
type meter struct {
	pid       int
	serverCPU time.Duration
	ownCPU    time.Duration
	stop      context.CancelFunc
	watching  sync.WaitGroup

	rss, peak int64 // bytes; the watcher's until watching is done
}

// startMeter fails when there is no process with that id; 0 stands for none.
func startMeter(ctx context.Context, pid int) (*meter, error) {
	m := &meter{pid: pid, ownCPU: ownCPU(), stop: func() {}}
	if pid == 0 {
		return m, nil
	}
	var err error
	if m.serverCPU, err = processCPU(pid); err != nil {
		return nil, fmt.Errorf("bench: server process: %w", err)
	}
	ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.watching.Go(func() { m.watch(ctx) })
	return m, nil
}

// watch samples the memory twice a second; the kernel's own high-water mark
// would also count what was before this phase.
func (m *meter) watch(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		if rss, err := processRSS(m.pid); err == nil {
			m.rss, m.peak = rss, max(m.peak, rss)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// finish ends the phase and notes its costs, requests being the number it served.
func (m *meter) finish(p *Phase, requests int) {
	m.stop()
	m.watching.Wait()
	perRequest := func(d time.Duration) float64 {
		return float64(d) / float64(time.Millisecond) / float64(max(requests, 1))
	}
	p.ClientCPUMs = perRequest(ownCPU() - m.ownCPU)
	if m.pid == 0 {
		return
	}
	p.ServerRSSBytes, p.ServerPeakRSSBytes = m.rss, m.peak
	// A server that died meanwhile has no figure; its requests failed and are counted.
	if now, err := processCPU(m.pid); err == nil {
		p.ServerCPUMs = perRequest(now - m.serverCPU)
	}
}
