package metarpc

import (
	"sync"
	"time"
)

// health remembers how the replicas answered lately. Members come and go; a host that is not asked any more costs nothing
// but its entry.
type health struct {
	mu    sync.RWMutex // guards all
	hosts map[uint64]*hostHealth
}

type hostHealth struct {
	latency time.Duration // a moving average
	suspect time.Time     // until when it is asked last
}

// maxHealthHosts bounds the memory: ids of replicas that were replaced are never used again.
const maxHealthHosts = 1024

// of returns the entry of a host. The caller holds mu for writing.
func (h *health) of(host uint64) *hostHealth {
	e := h.hosts[host]
	if e == nil {
		if len(h.hosts) >= maxHealthHosts {
			clear(h.hosts)
		}
		e = new(hostHealth)
		h.hosts[host] = e
	}
	return e
}

// answered notes an answer: the host is well.
func (h *health) answered(host uint64, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.of(host)
	e.suspect = time.Time{}
	if e.latency == 0 {
		e.latency = took
	}
	e.latency += (took - e.latency) / 8
}

func (h *health) suspect(host uint64, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(host).suspect = until
}

func (h *health) isSuspect(host uint64, now time.Time) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	e := h.hosts[host]
	return e != nil && now.Before(e.suspect)
}

// latencyOf returns 0 for a host that was never asked: it is worth a try.
func (h *health) latencyOf(host uint64) time.Duration {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if e := h.hosts[host]; e != nil {
		return e.latency
	}
	return 0
}
