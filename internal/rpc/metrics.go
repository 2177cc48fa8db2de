package rpc

import (
	"context"
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// register adds a collector, or returns the one that another Client or Server of the process has added.
func register[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	if r == nil {
		return c, nil
	}
	err := r.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return c, err
}

// wire counts what both sides have. Headers count as those of the newest version.
type wire struct {
	open    prometheus.Gauge
	in, out prometheus.Counter
}

func newWire(r prometheus.Registerer, side string) (*wire, error) {
	open, err := register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "kintsugi_rpc_connections", Help: "Open connections between processes.",
	}, []string{"side"}))
	if err != nil {
		return nil, err
	}
	bytes, err := register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kintsugi_rpc_bytes_total", Help: "Bytes of frames between processes, without encryption.",
	}, []string{"side", "direction"}))
	if err != nil {
		return nil, err
	}
	return &wire{
		open: open.WithLabelValues(side), in: bytes.WithLabelValues(side, "in"), out: bytes.WithLabelValues(side, "out"),
	}, nil
}

func (w *wire) connections(by int) { w.open.Add(float64(by)) }

func (w *wire) sent(bytes int) { w.out.Add(float64(bytes)) }

type clientMetrics struct {
	*wire
	errors *prometheus.CounterVec
}

func newClientMetrics(r prometheus.Registerer) (*clientMetrics, error) {
	w, err := newWire(r, "client")
	if err != nil {
		return nil, err
	}
	failures, err := register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kintsugi_rpc_client_errors_total", Help: "Calls to other processes that failed, by method number and kind of failure.",
	}, []string{"method", "error"}))
	return &clientMetrics{wire: w, errors: failures}, err
}

func (m *clientMetrics) failed(method Method, err error) {
	m.errors.WithLabelValues(methodLabel(method), errorLabel(err)).Inc()
}

func (m *clientMetrics) exchanged(call *Call, h header) {
	m.out.Add(maxHeaderSize + float64(len(call.Head)+len(call.Body)))
	m.received(h)
}

func (w *wire) received(h header) { w.in.Add(maxHeaderSize + float64(h.headSize+h.bodySize)) }

func methodLabel(m Method) string { return strconv.Itoa(int(m)) }

func errorLabel(err error) string {
	_, status := errors.AsType[*StatusError](err)
	switch {
	case status:
		return "status"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case errors.Is(err, ErrRefused):
		return "refused"
	case errors.Is(err, ErrUnreachable):
		return "unreachable"
	case errors.Is(err, ErrBroken):
		return "broken"
	default:
		return "other"
	}
}

type serverMetrics struct {
	*wire
	calls   *prometheus.CounterVec
	refused prometheus.Counter
	panics  prometheus.Counter
	unknown *method // stands for all that are not handled
}

func newServerMetrics(r prometheus.Registerer) (*serverMetrics, error) {
	w, err := newWire(r, "server")
	if err != nil {
		return nil, err
	}
	m := &serverMetrics{wire: w}
	m.calls, err = register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kintsugi_rpc_calls_total", Help: "Calls served, by method number and outcome.",
	}, []string{"method", "outcome"}))
	if err != nil {
		return nil, err
	}
	m.refused, err = register(r, prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kintsugi_rpc_refused_total", Help: "Connections closed because the other end did not prove that it belongs to the cluster.",
	}))
	if err != nil {
		return nil, err
	}
	m.panics, err = register(r, prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kintsugi_rpc_panics_total", Help: "Handlers that panicked: a bug each.",
	}))
	m.unknown = &method{metrics: m.labelled("unknown")}
	return m, err
}

// methodMetrics has the counters of a method at hand, for calls in the tens of thousands per second.
type methodMetrics struct {
	ok, status, refused, failed prometheus.Counter
}

func (m *serverMetrics) method(number Method) *methodMetrics { return m.labelled(methodLabel(number)) }

func (m *serverMetrics) labelled(label string) *methodMetrics {
	return &methodMetrics{
		ok:      m.calls.WithLabelValues(label, "ok"),
		status:  m.calls.WithLabelValues(label, "status"),
		refused: m.calls.WithLabelValues(label, "refused"),
		failed:  m.calls.WithLabelValues(label, "failed"),
	}
}

func (m *methodMetrics) count(err error) {
	status, ok := errors.AsType[*StatusError](err)
	switch {
	case err == nil:
		m.ok.Inc()
	case !ok:
		m.failed.Inc()
	case status.Code == codeRefused:
		m.refused.Inc()
	default:
		m.status.Inc()
	}
}
