package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the gateway. The counters of each operation are looked up once.
type metrics struct {
	operations map[string]*operationMetrics // by route.name
	failures   *prometheus.CounterVec
	received   prometheus.Counter
	sent       prometheus.Counter
}

type operationMetrics struct {
	byClass  [6]prometheus.Counter // by the first digit of the status
	duration prometheus.Observer
}

// durationBuckets are in seconds.
var durationBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .1, .5, 2, 10}

var statusClasses = [6]string{"0xx", "1xx", "2xx", "3xx", "4xx", "5xx"}

func newMetrics(registry prometheus.Registerer, inFlight func() float64) (*metrics, error) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kintsugi_gateway_requests_total", Help: "Requests answered, by operation and class of status.",
	}, []string{"operation", "status"})
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "kintsugi_gateway_request_seconds", Help: "Time from the end of a request's header to the end of its answer.", Buckets: durationBuckets,
	}, []string{"operation"})
	m := &metrics{
		operations: make(map[string]*operationMetrics),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kintsugi_gateway_errors_total", Help: "Errors answered, by S3's code.",
		}, []string{"code"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kintsugi_gateway_received_bytes_total", Help: "Bytes of request bodies, as they were framed.",
		}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kintsugi_gateway_sent_bytes_total", Help: "Bytes of objects sent.",
		}),
	}
	add := func(name string) {
		o := &operationMetrics{duration: durations.WithLabelValues(name)}
		for class := range o.byClass {
			if class >= 2 {
				o.byClass[class] = requests.WithLabelValues(name, statusClasses[class])
			}
		}
		m.operations[name] = o
	}
	for i := range routes {
		add(routes[i].name)
	}
	add(noRoute.name)
	if registry == nil {
		return m, nil
	}
	flying := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kintsugi_gateway_in_flight", Help: "Requests being served.",
	}, inFlight)
	for _, c := range []prometheus.Collector{requests, durations, m.failures, m.received, m.sent, flying} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe counts a finished request.
func (m *metrics) observe(r *request) {
	name := noRoute.name
	if r.route != nil {
		name = r.route.name
	}
	o := m.operations[name]
	if class := r.status / 100; class >= 2 && class < len(o.byClass) {
		o.byClass[class].Inc()
	}
	o.duration.Observe(time.Since(r.started).Seconds())
	if r.raw.read > 0 {
		m.received.Add(float64(r.raw.read))
	}
}

func (m *metrics) failed(code string) { m.failures.WithLabelValues(code).Inc() }
