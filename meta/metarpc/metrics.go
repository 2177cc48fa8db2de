package metarpc

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/meta"
)

type metrics struct {
	calls   *prometheus.HistogramVec
	retries *prometheus.CounterVec
	kinds   [3][2]prometheus.Observer // by kind and whether it was answered: without a look-up per call
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "kintsugi_metadata_call_seconds",
			Help:    "Time of metadata calls with all their attempts, by kind and whether a replica answered.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8),
		}, []string{"kind", "outcome"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kintsugi_metadata_retries_total",
			Help: "Attempts at metadata calls that another one had to follow, by reason.",
		}, []string{"reason"}),
	}
	for kind, name := range []string{proposal: "propose", read: "read", eventualRead: "eventual"} {
		m.kinds[kind] = [2]prometheus.Observer{
			m.calls.WithLabelValues(name, "answered"), m.calls.WithLabelValues(name, "unavailable"),
		}
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.calls), r.Register(m.retries))
}

// observe counts a call that ended with err.
func (m *metrics) observe(k kind, began time.Time, err error) {
	outcome := 0
	if err != nil && !isFinal(err) || errors.Is(err, meta.ErrUnavailable) {
		outcome = 1
	}
	m.kinds[k][outcome].Observe(time.Since(began).Seconds())
}
