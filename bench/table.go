package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	r.writeHead(&b)
	for i := range r.Phases {
		r.Phases[i].write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeHead(b *strings.Builder) {
	b.WriteString(string(r.Operation))
	if r.Operation != List {
		fmt.Fprintf(b, " %s, payload %s", formatSize(r.SizeBytes), r.Payload)
	}
	fmt.Fprintf(b, ", %d at a time", r.Workers)
	if r.Objects > 0 {
		fmt.Fprintf(b, ", %d objects", r.Objects)
	}
	if r.Verified {
		b.WriteString(", every byte compared")
	}
	fmt.Fprintf(b, "\nserver %s", r.Endpoint)
	if r.Server != "" {
		fmt.Fprintf(b, " (%s)", r.Server)
	}
	fmt.Fprintf(b, ", generator on %s (%s, %d cores)\n", r.Host, r.Platform, r.Cores)
	if r.Interrupted {
		b.WriteString("interrupted: these are the figures until then\n")
	}
}

func (p *Phase) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s, %.1f s\n", p.Name, p.Seconds)
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "request\tcount\terrors\t1/s\tMiB/s\tentries/s\tp50 ms\tp90\tp99\tp99.9\tmax\t\n")
	for _, row := range p.Rows {
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", row.Kind, row.Count, row.Errors,
			figure(row.PerSecond), orDash(row.BytesPerSecond/(1<<20)), orDash(row.EntriesPerSecond),
			figure(row.P50Ms), figure(row.P90Ms), figure(row.P99Ms), figure(row.P999Ms), figure(row.MaxMs))
	}
	_ = table.Flush() // a strings.Builder takes everything
	if p.ServerPeakRSSBytes > 0 {
		fmt.Fprintf(b, "server: %.3f ms CPU per request, %s resident at the end, %s at most\n",
			p.ServerCPUMs, formatSize(p.ServerRSSBytes), formatSize(p.ServerPeakRSSBytes))
	}
	fmt.Fprintf(b, "generator: %.3f ms CPU per request\n", p.ClientCPUMs)
	for _, row := range p.Rows {
		for _, e := range row.ErrorKinds {
			fmt.Fprintf(b, "%s: %d x %s; the first: %s\n", row.Kind, e.Count, e.Code, e.First)
		}
	}
}

func orDash(v float64) string {
	if v == 0 {
		return "-"
	}
	return figure(v)
}

// figure writes a number with about three digits that count.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
