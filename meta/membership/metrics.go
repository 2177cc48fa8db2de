package membership

import "github.com/prometheus/client_golang/prometheus"

// coordinatorMetrics are those of the process that coordinates; elsewhere they are 0.
type coordinatorMetrics struct {
	coordinates prometheus.Gauge
	nodes       *prometheus.GaugeVec
	epoch       prometheus.Gauge
	changes     prometheus.Counter
	refused     prometheus.Counter
}

func newCoordinatorMetrics(r prometheus.Registerer) (*coordinatorMetrics, error) {
	m := &coordinatorMetrics{
		coordinates: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kintsugi_membership_coordinator", Help: "1 in the process that coordinates the cluster."}),
		nodes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kintsugi_membership_nodes", Help: "Nodes by state, in the coordinator."}, []string{"state"}),
		epoch: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kintsugi_membership_epoch", Help: "Epoch of the cluster map, in the coordinator."}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kintsugi_membership_map_changes_total", Help: "Changes of the cluster map made by this process."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kintsugi_membership_refused_total", Help: "Heartbeats of nodes that may not take part."}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.coordinates, m.nodes, m.epoch, m.changes, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *coordinatorMetrics) observe(t *term) {
	up := 0
	for _, e := range t.table.nodes {
		if e.up {
			up++
		}
	}
	m.coordinates.Set(1)
	m.nodes.WithLabelValues("up").Set(float64(up))
	m.nodes.WithLabelValues("down").Set(float64(len(t.table.nodes) - up))
	m.epoch.Set(float64(t.epoch()))
}

func (m *coordinatorMetrics) ended() {
	m.coordinates.Set(0)
	m.nodes.Reset()
	m.epoch.Set(0)
}
