package admin

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

func sortNames(names []string) { slices.SortFunc(names, compareNames) }

// WritePlan prints what a change moves, or has begun to move.
func WritePlan(w io.Writer, p Plan) error {
	verb := "would move"
	if p.Applied {
		verb = "moves"
	}
	fmt.Fprintf(w, "%s %s %d of %d slots (least possible: %d), about %s\n", p.Change, verb, p.Moves, p.Slots, p.LowerBound, Size(p.Bytes))
	if len(p.Drives) > 0 {
		t := newTable(w)
		fmt.Fprint(t, "DRIVE\tNODE\tBEFORE\tAFTER\tIN\tOUT\tDATA IN\tDATA OUT\n")
		for _, d := range p.Drives {
			id := d.ID[:idDigits]
			if d.New {
				id = "(new)"
			}
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", id, d.Node, d.Before, d.After, d.In, d.Out, Size(d.BytesIn), Size(d.BytesOut))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	if p.Applied {
		return nil
	}
	_, err := fmt.Fprintf(w, "nothing has been changed; %s\n", p.Change.next())
	return err
}

// WriteOrder prints what the drives have been asked for.
func WriteOrder(w io.Writer, o Order) error {
	limit := "the default"
	if o.RepairLimit > 0 {
		limit = Size(uint64(o.RepairLimit)) + "/s"
	}
	_, err := fmt.Fprintf(w, "order %d is given to all drives; repair limit of each: %s\n", o.Serial, limit)
	return err
}

// String is the change as the command line has it.
func (c Change) String() string {
	switch c.Kind {
	case AddNode:
		text := fmt.Sprintf("add-node --drives %d --weight %d", c.Drives, c.weight())
		if c.Zone != "" {
			text += " --zone " + c.Zone
		}
		return text
	case Weight:
		return fmt.Sprintf("weight %s %d", c.Target, c.weight())
	}
	text := c.Kind + " " + c.Target
	if c.ForceLost {
		text += " --force-lost"
	}
	return text
}

// next says how the change of a plan is made.
func (c Change) next() string {
	if c.Kind == AddNode {
		return "start the node with --join and the cluster's secret: it adds its drives by itself"
	}
	return "apply it with: kintsugi admin " + c.String()
}

// WriteWhy prints one object's chunks: those with a flaw, or with all each.
func WriteWhy(w io.Writer, y Why, drives []Drive, all bool) error {
	names := map[string]string{}
	for _, d := range drives {
		names[d.ID] = d.ID[:idDigits] + "@" + d.Node
	}
	fmt.Fprintf(w, "%s/%s\n  version %s, %s, written %s, ETag %s\n", y.Bucket, y.Key, y.Version, Size(uint64(y.Size)), y.Modified.Format("2006-01-02 15:04:05 UTC"), y.ETag)
	if y.Inline {
		fmt.Fprintln(w, "  kept with the metadata, no chunks")
	} else {
		fmt.Fprintf(w, "  %s: %d whole, %d degraded, %d at risk, %d unreadable\n", count(y.Chunks, "chunk"), y.By.Whole, y.By.Degraded, y.By.AtRisk, y.By.Unreadable)
	}
	for _, c := range y.Detail {
		if !all && c.Health == Healthy && !c.hasNotes() {
			continue
		}
		if err := writeChunk(w, c, names); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", y.Conclusion)
	return err
}

func (c ChunkState) hasNotes() bool {
	return slices.ContainsFunc(c.Shards, func(s ShardState) bool { return s.Note != "" })
}

func writeChunk(w io.Writer, c ChunkState, names map[string]string) error {
	moving := ""
	if c.Moving {
		moving = ", moving"
	}
	fmt.Fprintf(w, "\nchunk %d  %s  %d of %s shards, %d needed  partition %d%s, written in epoch %d  (%s/%d)\n",
		c.Chunk, c.Health, c.Live, c.Code, c.Needed, c.Partition, moving, c.Epoch, c.Blob, c.Number)
	t := newTable(w)
	fmt.Fprint(t, "  SHARD\tSTATE\tHOME\tBEFORE\tIS ON\tWHAT STANDS IN THE WAY\n")
	for _, s := range c.Shards {
		on := make([]string, len(s.On))
		for i, id := range s.On {
			on[i] = named(id, names)
		}
		fmt.Fprintf(t, "  %d\t%s\t%s\t%s\t%s\t%s\n", s.Index, s.State, named(s.Home, names), named(s.Previous, names), orDash(strings.Join(on, " ")), s.Note)
	}
	return t.Flush()
}

func named(id string, names map[string]string) string {
	switch {
	case id == "":
		return "-"
	case names[id] != "":
		return names[id]
	}
	return id[:min(len(id), idDigits)]
}
