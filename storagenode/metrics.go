package storagenode

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what all Reconcilers and Scrubbers of a process do. A nil one counts nothing.
type Metrics struct {
	tasks                               [outcomes]prometheus.Counter
	bytesRead, bytesWritten, surplusAll prometheus.Counter
	scrubPasses, scrubDamaged           prometheus.Counter
	pending                             *prometheus.GaugeVec
}

var outcomeNames = [outcomes]string{
	copied: "copied", rebuilt: "rebuilt", present: "present", deleted: "deleted", unrecoverable: "unrecoverable", failed: "failed",
}

// NewMetrics registers them; nil if there is nowhere to.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	if r == nil {
		return nil, nil
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "kintsugi_repair_" + name, Help: help})
	}
	shards := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kintsugi_repair_shards_total", Help: "Shards looked at because they were missing, by what came of it.",
	}, []string{"outcome"})
	m := &Metrics{
		bytesRead:    counter("read_bytes_total", "Bytes read from other shards to copy or rebuild one."),
		bytesWritten: counter("written_bytes_total", "Bytes of shards copied or rebuilt."),
		surplusAll:   counter("surplus_removed_total", "Copies of shards removed from drives that are not their homes."),
		scrubPasses:  prometheus.NewCounter(prometheus.CounterOpts{Name: "kintsugi_scrub_passes_total", Help: "Times a drive was read from end to end."}),
		scrubDamaged: prometheus.NewCounter(prometheus.CounterOpts{Name: "kintsugi_scrub_damaged_shards_total", Help: "Damaged shards that scrubs found."}),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kintsugi_repair_pending_shards", Help: "Shards that a drive is known to lack and will get.",
		}, []string{"drive"}),
	}
	for i, name := range outcomeNames {
		m.tasks[i] = shards.WithLabelValues(name)
	}
	for _, c := range []prometheus.Collector{shards, m.bytesRead, m.bytesWritten, m.surplusAll, m.scrubPasses, m.scrubDamaged, m.pending} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) outcome(o outcome) {
	if m != nil {
		m.tasks[o].Inc()
	}
}

func (m *Metrics) read(n int64) {
	if m != nil {
		m.bytesRead.Add(float64(n))
	}
}

func (m *Metrics) written(n int64) {
	if m != nil {
		m.bytesWritten.Add(float64(n))
	}
}

func (m *Metrics) surplus(n int) {
	if m != nil {
		m.surplusAll.Add(float64(n))
	}
}

func (m *Metrics) setPending(drive string, n int) {
	if m != nil {
		m.pending.WithLabelValues(drive).Set(float64(n))
	}
}

func (m *Metrics) forget(drive string) {
	if m != nil {
		m.pending.DeleteLabelValues(drive)
	}
}

func (m *Metrics) damaged() {
	if m != nil {
		m.scrubDamaged.Inc()
	}
}

func (m *Metrics) pass() {
	if m != nil {
		m.scrubPasses.Inc()
	}
}
