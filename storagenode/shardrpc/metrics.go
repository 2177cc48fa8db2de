package shardrpc

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what goes over the wire.
type metrics struct {
	read, written, mangled prometheus.Counter
}

// newMetrics registers them if there is where to.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "kintsugi_storagenode_" + name, Help: help})
	}
	m := &metrics{
		read:    counter("remote_read_bytes_total", "Bytes of shards that other processes read."),
		written: counter("remote_written_bytes_total", "Bytes of shards that other processes wrote."),
		mangled: counter("mangled_writes_total", "Shards that arrived damaged and were refused."),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.read, m.written, m.mangled} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
