package rpc

import (
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	s, c := pair(t, func(cfg *Config) { cfg.Registerer = registry })
	startClient(t, Config{Self: c.cfg.Self, Secret: c.cfg.Secret, Registerer: registry}) // a second one shares them
	for _, method := range []Method{methodEcho, methodEcho, methodStatus, methodPanic, methodMeta, 200} {
		c.Do(testContext(t), s.addr, &Call{Method: method})
	}
	raw, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	raw.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	raw.Read(make([]byte, 1))
	raw.Close()
	c.Close()
	s.Close()
	got := gather(t, registry)
	for _, tc := range []struct {
		name string
		want float64
	}{
		{"kintsugi_rpc_calls_total 240 ok", 2},
		{"kintsugi_rpc_calls_total 241 status", 1},
		{"kintsugi_rpc_calls_total 242 failed", 1},
		{"kintsugi_rpc_calls_total 246 refused", 1},
		{"kintsugi_rpc_calls_total unknown status", 1},
		{"kintsugi_rpc_client_errors_total refused 246", 1},
		{"kintsugi_rpc_client_errors_total status 241", 1},
		{"kintsugi_rpc_panics_total", 1},
		{"kintsugi_rpc_refused_total", 1},
		{"kintsugi_rpc_connections client", 0},
		{"kintsugi_rpc_connections server", 0},
		{"kintsugi_rpc_bytes_total in server", 6 * maxHeaderSize},
		{"kintsugi_rpc_bytes_total out client", 6 * maxHeaderSize},
	} {
		if value, ok := got[tc.name]; !ok || value != tc.want {
			t.Errorf("%s: got %v (there: %v), want %v", tc.name, value, ok, tc.want)
		}
	}
}

// gather returns the metrics by name and values of their labels.
func gather(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := []string{family.GetName()}
			for _, label := range m.GetLabel() {
				name = append(name, label.GetValue())
			}
			values[strings.Join(name, " ")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}
