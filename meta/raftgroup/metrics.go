package raftgroup

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the host's figures. Hosts of one process are told apart by the labels of their Registerer.
type metrics struct {
	registerer prometheus.Registerer // nil: nobody looks
	collectors []prometheus.Collector

	elections prometheus.Counter
	applied   prometheus.Counter
	applies   prometheus.Counter
	snapshots prometheus.Counter
	damaged   prometheus.Counter
	syncs     prometheus.Histogram
}

func newMetrics(h *Host) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		registerer: h.cfg.Registerer,
		elections:  counter("kintsugi_raft_leaderships_total", "Groups whose leadership this replica took over."),
		applied:    counter("kintsugi_raft_applied_entries_total", "Entries given to the state machine."),
		applies:    counter("kintsugi_raft_applied_batches_total", "Transactions of the state machine."),
		snapshots:  counter("kintsugi_raft_restored_snapshots_total", "States fetched from a peer."),
		damaged:    counter("kintsugi_raft_log_damages_total", "Damaged segments of the log that a scrub found."),
		syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kintsugi_raft_log_sync_seconds", Help: "Writes of the log, each with its fdatasync.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
	}
	led := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kintsugi_raft_led_groups", Help: "Groups that this replica leads.",
	}, func() float64 { return float64(h.ledGroups()) })
	m.collectors = []prometheus.Collector{m.elections, m.applied, m.applies, m.snapshots, m.damaged, m.syncs, led}
	if m.registerer == nil {
		return m, nil
	}
	for i, c := range m.collectors {
		if err := m.registerer.Register(c); err != nil {
			m.collectors = m.collectors[:i]
			m.close()
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) close() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}

func (m *metrics) timeSync(write func() error) (took time.Duration, err error) {
	start := time.Now()
	err = write()
	took = time.Since(start)
	m.syncs.Observe(took.Seconds())
	return took, err
}

// ledGroups counts the groups that this host leads.
func (h *Host) ledGroups() int {
	n := 0
	for _, g := range h.groups {
		if g.tenure.Load() != nil {
			n++
		}
	}
	return n
}
