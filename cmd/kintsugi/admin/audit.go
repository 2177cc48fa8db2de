package admin

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"kintsugi/storagenode/audit"
)

// AuditHealth is how the chunks are that an audit found. A code without parity is not at risk for what was chosen.
func AuditHealth(s audit.Summary) Health {
	switch {
	case s.Unreadable > 0 || s.Disputed > 0:
		return Unavailable
	case s.AtRisk > 0 && s.Whole < s.Chunks:
		return AtRisk
	case s.Whole < s.Chunks || s.Damaged > 0:
		return Degraded
	}
	return Healthy
}

// WriteAudit prints what an audit found.
func WriteAudit(w io.Writer, s audit.Summary) error {
	t := newTable(w)
	fmt.Fprint(t, "DIRECTORY\tDRIVE\tSHARDS\tDATA\tDAMAGED\tTOMBSTONES\tSEGMENTS\n")
	for _, d := range s.Drives {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%d\t%d\n", d.Dir, d.Drive[:min(len(d.Drive), idDigits)], d.Shards, Size(d.Bytes), d.Damaged, d.Tombstones, d.Segments)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s of %s: %d whole", count(s.Chunks, "chunk"), Size(s.Bytes), s.Whole)
	for _, lost := range slices.Sorted(maps.Keys(s.Lost)) {
		if n := s.Lost[lost]; n > 0 && lost > 0 {
			fmt.Fprintf(w, ", %d lack %d", n, lost)
		}
	}
	_, err := fmt.Fprintf(w, "; %d at risk, %d unreadable, %d disputed\n%s damaged, %d beyond need, remains of %s\n",
		s.AtRisk, s.Unreadable, s.Disputed, count(s.Damaged, "shard"), s.Copies, count(s.Deleted, "deleted chunk"))
	return err
}
