package shardstore

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/internal/directio"
)

// stats counts what the store does, for metrics.
type stats struct {
	puts, putBytes   atomic.Int64
	reads, readBytes atomic.Int64
	syncs            atomic.Int64
	corrupt          atomic.Int64 // damaged shards met
	moved            atomic.Int64 // bytes copied by compaction
	punched          atomic.Int64 // bytes given back in place
	collector        prometheus.Collector
}

func (t *stats) put(n int, err error) {
	if err == nil {
		t.puts.Add(1)
		t.putBytes.Add(int64(n))
	}
}

func (t *stats) read(n int) {
	t.reads.Add(1)
	t.readBytes.Add(int64(n))
}

// space fills in what the filesystem says.
func (s *Store) space(u *Usage) {
	space, err := directio.SpaceOf(s.dirFile)
	if err != nil {
		return
	}
	u.CapacityBytes = uint64(space.Size)
	u.FreeBytes = uint64(max(space.Free-s.cfg.MinFreeBytes, 0))
}

// collector shows a store to Prometheus.
type collector struct {
	store  *Store
	values []metric
}

type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	get  func(*Store, *Usage) float64
}

func newCollector(s *Store) *collector {
	c := &collector{store: s}
	labels := prometheus.Labels{"drive": s.cfg.Drive.String()}
	add := func(name, help string, kind prometheus.ValueType, get func(*Store, *Usage) float64) {
		c.values = append(c.values, metric{prometheus.NewDesc("kintsugi_shardstore_"+name, help, nil, labels), kind, get})
	}
	counter := func(name, help string, value *atomic.Int64) {
		add(name, help, prometheus.CounterValue, func(*Store, *Usage) float64 { return float64(value.Load()) })
	}
	gauge := func(name, help string, get func(*Usage) uint64) {
		add(name, help, prometheus.GaugeValue, func(_ *Store, u *Usage) float64 { return float64(get(u)) })
	}
	counter("puts_total", "Shards written.", &s.stats.puts)
	counter("put_bytes_total", "Payload bytes written.", &s.stats.putBytes)
	counter("reads_total", "Reads answered.", &s.stats.reads)
	counter("read_bytes_total", "Payload bytes returned.", &s.stats.readBytes)
	counter("syncs_total", "Group commits.", &s.stats.syncs)
	counter("corrupt_total", "Damaged shards met.", &s.stats.corrupt)
	counter("compacted_bytes_total", "Payload bytes copied by compaction.", &s.stats.moved)
	counter("punched_bytes_total", "Dead bytes given back in place.", &s.stats.punched)
	gauge("shards", "Healthy shards.", func(u *Usage) uint64 { return u.Shards })
	gauge("corrupt_shards", "Shards known to be damaged.", func(u *Usage) uint64 { return u.Corrupt })
	gauge("tombstones", "Deleted shards that are remembered.", func(u *Usage) uint64 { return u.Tombstones })
	gauge("live_bytes", "Bytes of records that are needed.", func(u *Usage) uint64 { return u.LiveBytes })
	gauge("used_bytes", "Bytes of all records in segments.", func(u *Usage) uint64 { return u.UsedBytes })
	gauge("free_bytes", "Bytes that may still be written.", func(u *Usage) uint64 { return u.FreeBytes })
	gauge("capacity_bytes", "Bytes of the filesystem.", func(u *Usage) uint64 { return u.CapacityBytes })
	return c
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.values {
		ch <- m.desc
	}
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	u := c.store.Usage()
	for _, m := range c.values {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.get(c.store, &u))
	}
}

func (s *Store) registerMetrics() error {
	if s.cfg.Registerer == nil {
		return nil
	}
	s.stats.collector = newCollector(s)
	return s.cfg.Registerer.Register(s.stats.collector)
}

func (s *Store) unregisterMetrics() {
	if s.cfg.Registerer != nil {
		s.cfg.Registerer.Unregister(s.stats.collector)
	}
}
