package admin

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// table aligns columns, two spaces apart, and leaves no space at the ends of lines. A row is cells with tabs between.
type table struct {
	*tabwriter.Writer
	text bytes.Buffer
	out  io.Writer
}

func newTable(w io.Writer) *table {
	t := &table{out: w}
	t.Writer = tabwriter.NewWriter(&t.text, 0, 8, 2, ' ', 0)
	return t
}

// Flush writes the table.
func (t *table) Flush() error {
	if err := t.Writer.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(t.text.String()) {
		if _, err := fmt.Fprintln(t.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// WriteStatus prints the state of the cluster for people.
func WriteStatus(w io.Writer, s Status) error {
	t := newTable(w)
	fmt.Fprintf(t, "cluster\t%s\n", orDash(s.Cluster))
	fmt.Fprintf(t, "health\t%s\n", s.Health)
	fmt.Fprintf(t, "code\t%s, %d partitions, epoch %d\n", orDash(s.Code), s.Partitions, s.Epoch)
	fmt.Fprintf(t, "nodes\t%s\n", nodeSummary(s.Nodes))
	fmt.Fprintf(t, "drives\t%s\n", driveSummary(s.Drives))
	fmt.Fprintf(t, "metadata\t%s\n", metadataSummary(s.Metadata))
	if led := leaders(s.Metadata); led != "" {
		fmt.Fprintf(t, "leaders\t%s\n", led)
	}
	fmt.Fprintf(t, "chunks\t%s\n", chunkSummary(s))
	fmt.Fprintf(t, "repair\t%s\n", repairSummary(s))
	fmt.Fprintf(t, "space\t%s used of %s, %s free; shards %s\n", Size(s.Space.Used), Size(s.Space.Capacity), Size(s.Space.Free), Size(s.Space.Live))
	fmt.Fprintf(t, "coordinator\t%s\n", orDash(s.Coordinator))
	if err := t.Flush(); err != nil {
		return err
	}
	return WriteProblems(w, s.Problems)
}

// WriteProblems prints what is bad, each with the next step.
func WriteProblems(w io.Writer, all []Problem) error {
	for _, p := range all {
		if _, err := fmt.Fprintf(w, "\n%s: %s\n  -> %s\n", p.Health, p.What, p.Next); err != nil {
			return err
		}
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func nodeSummary(nodes []Node) string {
	up, removed := 0, 0
	var down []string
	for _, n := range nodes {
		switch {
		case n.Up:
			up++
		case n.Removed:
			removed++
		default:
			down = append(down, n.Name)
		}
	}
	text := fmt.Sprintf("%d up, %d down", up, len(down))
	if len(down) > 0 {
		text += " (" + strings.Join(down, ", ") + ")"
	}
	if removed > 0 {
		text += fmt.Sprintf(", %d removed", removed)
	}
	return text
}

func driveSummary(drives []Drive) string {
	order := []string{"up", "down", "draining", "out", "removed", "new"}
	counts := map[string]int{}
	for _, d := range drives {
		counts[d.word()]++
	}
	var parts []string
	for _, word := range order {
		if n := counts[word]; n > 0 || word == "up" {
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	return strings.Join(parts, ", ")
}

// word is the state of a drive in one: that it cannot be reached matters more than that it is to be used.
func (d Drive) word() string {
	if !d.Live && (d.State == "up" || d.State == "draining") {
		return "down"
	}
	return d.State
}

func metadataSummary(md Metadata) string {
	if len(md.Groups) == 0 {
		return "-"
	}
	fewest, most := len(md.Groups[0].Voters), 0
	var dead []string
	for _, g := range md.Groups {
		fewest, most = min(fewest, len(g.Voters)), max(most, len(g.Voters))
		for _, v := range g.Voters {
			name := v.Node
			if name == "" {
				name = "host " + v.Host
			}
			if !v.Up && !slices.Contains(dead, name) {
				dead = append(dead, name)
			}
		}
	}
	voters := fmt.Sprint(most)
	if fewest != most {
		voters = fmt.Sprintf("%d-%d", fewest, most)
	}
	text := fmt.Sprintf("%s of %s voters", count(len(md.Groups), "group"), voters)
	if len(dead) > 0 {
		text += ", down: " + strings.Join(dead, ", ")
	}
	if md.Lost > 0 {
		text += fmt.Sprintf(", %s without a leader", count(md.Lost, "group"))
	}
	return text
}

// leaders counts the groups that each node leads.
func leaders(md Metadata) string {
	led := map[string]int{}
	var names []string
	for _, g := range md.Groups {
		if g.Leader == "" {
			continue
		}
		if led[g.Leader]++; led[g.Leader] == 1 {
			names = append(names, g.Leader)
		}
	}
	sortNames(names)
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %d", n, led[n])
	}
	return strings.Join(names, ", ")
}

func chunkSummary(s Status) string {
	c := s.Chunks
	if c == nil {
		return "not counted"
	}
	text := fmt.Sprintf("%d (%s)", c.Total, Size(c.Bytes))
	for lost, n := range c.ByLost {
		switch {
		case lost == 0:
			text += fmt.Sprintf(": %d with all shards", n)
		case n > 0:
			text += fmt.Sprintf(", %d lack %d", n, lost)
		}
	}
	text += fmt.Sprintf("; %d at risk, %d unreadable", c.AtRisk, c.Unreadable)
	if c.Abandoned > 0 {
		text += fmt.Sprintf("; %d more that no object needs", c.Abandoned)
	}
	return text
}

func repairSummary(s Status) string {
	r := s.Repair
	if r.PendingShards == 0 && r.PendingPartitions == 0 && s.Moving == 0 {
		return "nothing pending"
	}
	text := fmt.Sprintf("%s and %s pending, %s moving, %s/s", count(r.PendingShards, "shard"),
		count(r.PendingPartitions, "comparison"), count(s.Moving, "partition"), Size(uint64(r.BytesPerSecond)))
	switch {
	case r.ETASeconds < 0:
		text += ", nothing moves"
	case r.ETASeconds > 0:
		text += ", about " + age(r.ETASeconds)
	}
	return text
}

// WriteNodes prints a line for each process.
func WriteNodes(w io.Writer, s Status) error {
	t := newTable(w)
	fmt.Fprint(t, "NODE\tSTATE\tFOR\tROLES\tADDRESS\tZONE\tDRIVES\tLEADS\tRELEASE\n")
	for _, n := range s.Nodes {
		state := "down"
		switch {
		case n.Up:
			state = "up"
		case n.Unseen:
			state = "not seen"
		}
		if n.Removed {
			state += ", removed"
		}
		since := age(n.Seconds)
		if n.Unseen {
			since = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", n.Name, state, since, strings.Join(n.Roles, "+"), orDash(n.Addr), orDash(n.Zone), n.Drives, n.Leads, orDash(n.Release))
	}
	return t.Flush()
}

// WriteDrives prints a line for each drive.
func WriteDrives(w io.Writer, s Status) error {
	t := newTable(w)
	fmt.Fprint(t, "DRIVE\tNODE\tSTATE\tWEIGHT\tSLOTS\tLEAVING\tSHARDS\tDATA\tFREE\tDAMAGED\tDIRECTORY\n")
	for _, d := range s.Drives {
		state := d.word()
		if state == "down" && d.State != "up" {
			state += ", " + d.State
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%d\t%s\n", d.ID[:idDigits], d.Node, state, d.Weight, d.Slots, d.Leaving,
			d.Shards, Size(d.LiveData), Size(d.Free), d.Corrupt, orDash(d.Dir))
	}
	return t.Flush()
}
