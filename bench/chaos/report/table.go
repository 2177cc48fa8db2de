package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteJSON writes report.json.
func (d *Data) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(d)
}

// WriteTable writes the verdict for a terminal.
func (d *Data) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "\n%s, seed %d: %.0f s of load, %.0f s in all\n\n", d.Scenario, d.Seed, d.Seconds, d.Total)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "fault\tnodes\tfrom\tto\tdetected\tredundant\trequests\terrors\tp99\tworst\t")
	for _, f := range d.Faults {
		name := f.Fault
		if f.Status != Injected {
			name += " (" + f.Status + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%.1f s\t%.1f s\t%s\t%s\t%d\t%d\t%s\t%s\t\n", name, strings.Join(f.Nodes, " "), f.Begin, f.End,
			after(f.Detected), after(f.Restored), f.Requests, f.Errors, short(f.P99), short(f.Worst))
	}
	fmt.Fprintln(t)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range d.Faults {
		if f.Status != Injected {
			fmt.Fprintf(w, "fault %d, %s %s, %s: %s\n", f.Number, f.Fault, f.Wanted, f.Status, f.Reason)
		}
	}
	for _, v := range d.Verdicts {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", v.ID, v.Name, v.Status, v.Summary)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if d.Result == Failed {
		d.writeProofs(w)
	}
	_, err := fmt.Fprintf(w, "\n%s\nagain: %s\n", d.word(), d.Replay)
	return err
}

// word is the result for people.
func (d *Data) word() string {
	skipped := 0
	for _, f := range d.Faults {
		if f.Status == FaultSkipped {
			skipped++
		}
	}
	word := strings.ToUpper(string(d.Result))
	if d.Result == Skipped {
		return word + ": no fault could be injected, so nothing is proved"
	}
	if d.Result == Broken {
		return word + " before its end: what was seen until then is as it must be, but proves little"
	}
	if skipped > 0 {
		return fmt.Sprintf("%s; %d of %d faults were skipped", word, skipped, len(d.Faults))
	}
	return word
}

// proofLines is how much of a failure's history a terminal shows; the page has all.
const proofLines = 14

// writeProofs shows the first failure of each oracle.
func (d *Data) writeProofs(w io.Writer) {
	for _, v := range d.Verdicts {
		if len(v.Failures) == 0 {
			continue
		}
		f := v.Failures[0]
		fmt.Fprintf(w, "\n%s: %s", v.ID, f.Title)
		if f.Key != "" {
			fmt.Fprintf(w, ", key %s", f.Key)
		}
		if f.Detail != "" {
			fmt.Fprintf(w, "\n  %s", f.Detail)
		}
		fmt.Fprintln(w)
		lines := f.History
		if len(lines) == 0 {
			lines = f.Logs
		}
		for _, line := range lines[:min(len(lines), proofLines)] {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
}

func after(s *float64) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("+%.1f s", *s)
}

func short(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.0f ms", s*1e3)
	}
	return fmt.Sprintf("%.1f s", s)
}
