package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Target is one of the endpoints of a comparison.
type Target struct {
	Endpoint             string
	AccessKey, SecretKey string
	ServerPID            int
}

// Comparison is what several rounds on several targets found.
type Comparison struct {
	Rounds  int         `json:"rounds"`
	Medians []Median    `json:"medians"` // by phase and kind of request, the targets in turn
	Reports [][]*Report `json:"reports"` // by target, then round
}

// Median has the median figures of one kind of request on one target.
type Median struct {
	Endpoint    string     `json:"endpoint"`
	Phase       string     `json:"phase"`
	Kind        string     `json:"kind"`
	PerSecond   float64    `json:"per_second"`
	Range       [2]float64 `json:"per_second_range"` // the worst and the best round
	P50Ms       float64    `json:"p50_ms"`
	P99Ms       float64    `json:"p99_ms"`
	ServerCPUMs float64    `json:"server_cpu_ms_per_request,omitempty"` // of the whole phase
	Errors      int        `json:"errors"`
}

// Compare runs c on every target in turn, as many rounds as asked for. What else the
// machine does then hits all of them alike: medians compare where single runs do not.
func Compare(ctx context.Context, c Config, targets []Target, rounds int) (*Comparison, error) {
	result := &Comparison{Rounds: rounds, Reports: make([][]*Report, len(targets))}
	cleanup := c.Cleanup
	var failed error
	for round := range rounds {
		for i, t := range targets {
			c.Endpoint, c.AccessKey, c.SecretKey, c.ServerPID = t.Endpoint, t.AccessKey, t.SecretKey, t.ServerPID
			c.Cleanup = cleanup && round == rounds-1
			report, err := Run(ctx, c)
			if report != nil && len(report.Phases) > 0 {
				result.Reports[i] = append(result.Reports[i], report)
			}
			failed = errors.Join(failed, err)
		}
		if failed != nil || ctx.Err() != nil {
			break
		}
		c.Reuse = c.Operation != Put // the first round wrote what is read
	}
	result.summarize(targets)
	return result, failed
}

// summarize goes by the rows of the first report: all runs have the same phases.
func (c *Comparison) summarize(targets []Target) {
	if len(c.Reports) == 0 || len(c.Reports[0]) == 0 {
		return
	}
	for _, p := range c.Reports[0][0].Phases {
		for _, row := range p.Rows {
			for i, t := range targets {
				if len(c.Reports[i]) > 0 {
					c.Medians = append(c.Medians, medianOf(c.Reports[i], t.Endpoint, p.Name, row.Kind))
				}
			}
		}
	}
}

// medianOf takes the medians of one kind of request in the reports of one target.
func medianOf(reports []*Report, endpoint, phaseName, kind string) Median {
	m := Median{Endpoint: endpoint, Phase: phaseName, Kind: kind}
	var perSecond, p50, p99, cpu []float64
	for _, report := range reports {
		phase, row := report.find(phaseName, kind)
		perSecond, cpu = append(perSecond, row.PerSecond), append(cpu, phase.ServerCPUMs)
		p50, p99 = append(p50, row.P50Ms), append(p99, row.P99Ms)
		m.Errors += row.Errors
	}
	m.Range = [2]float64{slices.Min(perSecond), slices.Max(perSecond)}
	m.PerSecond, m.ServerCPUMs = median(perSecond), median(cpu)
	m.P50Ms, m.P99Ms = median(p50), median(p99)
	return m
}

// find returns the row of that phase and kind, or a zero one.
func (r *Report) find(phase, kind string) (Phase, Row) {
	for _, p := range r.Phases {
		for _, row := range p.Rows {
			if p.Name == phase && row.Kind == kind {
				return p, row
			}
		}
	}
	return Phase{}, Row{}
}

// median sorts values and returns the middle one, or the mean of the two in the middle.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// Errors returns how many requests failed in all runs.
func (c *Comparison) Errors() int {
	n := 0
	for _, reports := range c.Reports {
		for _, r := range reports {
			n += r.Errors()
		}
	}
	return n
}

// WriteJSON writes the comparison as one JSON object.
func (c *Comparison) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(c)
}

// WriteTable writes the medians for people; a ratio is to the first target.
func (c *Comparison) WriteTable(w io.Writer) error {
	var b strings.Builder
	if len(c.Reports) > 0 && len(c.Reports[0]) > 0 {
		c.Reports[0][0].writeHead(&b)
	}
	fmt.Fprintf(&b, "\nmedians of %d rounds, the endpoints in turn\n", c.Rounds)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "request\tendpoint\t1/s\tworst to best\tratio\tp50 ms\tp99 ms\tserver CPU ms\terrors\n")
	var first Median
	for _, m := range c.Medians {
		if m.Phase != first.Phase || m.Kind != first.Kind {
			first = m
		}
		fmt.Fprintf(table, "%s: %s\t%s\t%s\t%s - %s\t%.2f\t%s\t%s\t%s\t%d\n", m.Phase, m.Kind, m.Endpoint, figure(m.PerSecond),
			figure(m.Range[0]), figure(m.Range[1]), m.PerSecond/max(first.PerSecond, 1e-9),
			figure(m.P50Ms), figure(m.P99Ms), cpuFigure(m.ServerCPUMs), m.Errors)
	}
	_ = table.Flush() // a strings.Builder takes everything
	_, err := io.WriteString(w, b.String())
	return err
}

func cpuFigure(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", ms)
}
