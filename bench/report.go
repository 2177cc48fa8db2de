package bench

import (
	"encoding/json"
	"io"
	"os"
	"runtime"
	"time"
)

// Report is what a run found. In JSON times are milliseconds.
type Report struct {
	Started     time.Time `json:"started"`
	Operation   Operation `json:"operation"`
	Endpoint    string    `json:"endpoint"`
	Server      string    `json:"server,omitempty"` // what the endpoint calls itself
	SizeBytes   int64     `json:"size_bytes"`
	Objects     int       `json:"objects,omitempty"`
	Workers     int       `json:"concurrency"`
	Payload     Payload   `json:"payload"`
	Verified    bool      `json:"verified"`
	Interrupted bool      `json:"interrupted"`
	Host        string    `json:"host"`
	Platform    string    `json:"platform"`
	Cores       int       `json:"cores"`
	Phases      []Phase   `json:"phases"`
}

// Phase is one measured part of a run.
type Phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Rows    []Row   `json:"rows"`

	ClientCPUMs        float64 `json:"client_cpu_ms_per_request"`
	ServerCPUMs        float64 `json:"server_cpu_ms_per_request,omitempty"`
	ServerRSSBytes     int64   `json:"server_rss_bytes,omitempty"`
	ServerPeakRSSBytes int64   `json:"server_peak_rss_bytes,omitempty"`
}

// Row has the figures of one kind of request.
type Row struct {
	Kind             string      `json:"kind"`
	Count            uint64      `json:"count"`
	Errors           int         `json:"errors"`
	PerSecond        float64     `json:"per_second"`
	BytesPerSecond   float64     `json:"bytes_per_second,omitempty"`
	EntriesPerSecond float64     `json:"entries_per_second,omitempty"`
	MeanMs           float64     `json:"mean_ms"`
	P50Ms            float64     `json:"p50_ms"`
	P90Ms            float64     `json:"p90_ms"`
	P99Ms            float64     `json:"p99_ms"`
	P999Ms           float64     `json:"p99_9_ms"`
	MaxMs            float64     `json:"max_ms"`
	ErrorKinds       []ErrorKind `json:"error_kinds,omitempty"`
}

func newReport(c *Config) *Report {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &Report{
		Started: time.Now().UTC(), Operation: c.Operation, Endpoint: c.Endpoint, SizeBytes: c.SizeBytes,
		Objects: c.Objects, Workers: c.Workers, Payload: c.Payload, Verified: c.Verify,
		Host: host, Platform: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(),
	}
}

// Errors returns how many requests failed.
func (r *Report) Errors() int {
	n := 0
	for _, p := range r.Phases {
		for _, row := range p.Rows {
			n += row.Errors
		}
	}
	return n
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

func newRow(n *named, took time.Duration) Row {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	perSecond := func(n float64) float64 { return n / max(took.Seconds(), 1e-9) }
	h := &n.latency
	return Row{
		Kind: n.kind, Count: h.total, Errors: n.failed(), ErrorKinds: n.errors,
		PerSecond: perSecond(float64(h.total)), BytesPerSecond: perSecond(float64(n.bytes)),
		EntriesPerSecond: perSecond(float64(n.entries)),
		MeanMs:           ms(h.mean()), P50Ms: ms(h.quantile(0.5)), P90Ms: ms(h.quantile(0.9)),
		P99Ms: ms(h.quantile(0.99)), P999Ms: ms(h.quantile(0.999)), MaxMs: ms(h.max),
	}
}
