package state

import (
	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/meta/state/lsm"
)

// collector reports what the store of a machine has and did.
type collector struct {
	db                                                   *lsm.DB
	tables, tableBytes, memory, flushes, merges, rewrite *prometheus.Desc
}

func newCollector(db *lsm.DB) *collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("kintsugi_meta_state_"+name, help, nil, nil)
	}
	return &collector{
		db:         db,
		tables:     desc("tables", "Tables on the drive."),
		tableBytes: desc("table_bytes", "Bytes of the tables."),
		memory:     desc("memtable_bytes", "Bytes of what is not yet in a table."),
		flushes:    desc("flushes_total", "Memtables written to tables."),
		merges:     desc("merges_total", "Merges of tables."),
		rewrite:    desc("merged_bytes_total", "Bytes written by merges."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.db.Stats()
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	gauge(c.tables, float64(s.Tables))
	gauge(c.tableBytes, float64(s.TableBytes))
	gauge(c.memory, float64(s.MemoryBytes))
	counter(c.flushes, s.Flushes)
	counter(c.merges, s.Merges)
	counter(c.rewrite, s.MergedBytes)
}
