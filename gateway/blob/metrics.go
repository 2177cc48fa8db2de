package blob

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what the data path does.
type metrics struct {
	chunksWritten, bytesWritten    prometheus.Counter
	narrowChunks, substitutes      prometheus.Counter
	writeHedges, readHedges        prometheus.Counter
	windowsRead, bytesRead         prometheus.Counter
	degradedReads, reconstructed   prometheus.Counter
	shardsMissing, shardsCorrupt   prometheus.Counter
	searches                       prometheus.Counter
	blobsRemoved, orphansRemoved   prometheus.Counter
	garbagePending, sweepPartition prometheus.Gauge
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "kintsugi", Subsystem: "blob", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "kintsugi", Subsystem: "blob", Name: name, Help: help})
	}
	return &metrics{
		chunksWritten:  counter("chunks_written_total", "Chunks made durable."),
		bytesWritten:   counter("bytes_written_total", "Bytes of those chunks, before coding."),
		narrowChunks:   counter("narrow_chunks_total", "Chunks placed with fewer shards than the cluster's code, for want of healthy drives."),
		substitutes:    counter("substitutes_total", "Shards sent to another drive than their home because it was unhealthy, failed or slow."),
		writeHedges:    counter("write_hedges_total", "Shards that their drive did not store in time."),
		readHedges:     counter("read_hedges_total", "Shard reads made up for by parity because their drive did not answer in time."),
		windowsRead:    counter("windows_read_total", "Pieces of chunks fetched."),
		bytesRead:      counter("bytes_read_total", "Bytes of those pieces."),
		degradedReads:  counter("degraded_reads_total", "Pieces of chunks for which other shards than their own were needed."),
		reconstructed:  counter("shards_reconstructed_total", "Shards, or pieces of them, computed from others for a read."),
		shardsMissing:  counter("shards_missing_total", "Shards that a healthy home did not have when they were read."),
		shardsCorrupt:  counter("shards_corrupt_total", "Shards that failed their checksum when they were read."),
		searches:       counter("shard_searches_total", "Shards looked for on every drive, as too few were where they belong."),
		blobsRemoved:   counter("blobs_removed_total", "Blobs from the deletion queue whose shards were removed."),
		orphansRemoved: counter("orphan_shards_removed_total", "Shards removed because nothing refers to their blob."),
		garbagePending: gauge("garbage_pending", "Blobs seen in the deletion queue that wait for their removal."),
		sweepPartition: gauge("sweep_partition", "The partition that the orphan sweep has reached."),
	}
}

// register makes the metrics of s visible; a nil registry leaves them to themselves.
func (m *metrics) register(r prometheus.Registerer, s *Store) error {
	if r == nil {
		return nil
	}
	breakers := func(kind string, count func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "kintsugi", Subsystem: "blob", Name: "breakers_open",
			Help: "Drives that requests keep away from.", ConstLabels: prometheus.Labels{"kind": kind},
		}, count)
	}
	for _, c := range []prometheus.Collector{
		m.chunksWritten, m.bytesWritten, m.narrowChunks, m.substitutes, m.writeHedges, m.readHedges,
		m.windowsRead, m.bytesRead, m.degradedReads, m.reconstructed, m.shardsMissing, m.shardsCorrupt,
		m.searches, m.blobsRemoved, m.orphansRemoved, m.garbagePending, m.sweepPartition,
		breakers("read", func() float64 { reads, _ := s.health.open(); return float64(reads) }),
		breakers("write", func() float64 { _, writes := s.health.open(); return float64(writes) }),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
