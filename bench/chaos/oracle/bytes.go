package oracle

import (
	"fmt"

	"kintsugi/bench/chaos/history"
)

// Bytes is oracle O1: every byte that was read is the one that was written.
func Bytes(s history.Snapshot) Verdict {
	var read, bodies int64
	for i := range s.Ops {
		if o := &s.Ops[i]; o.Kind == history.Get || o.Kind == history.Range {
			read += o.SizeBytes
			bodies++
		}
	}
	good := fmt.Sprintf("%.1f MB in %s, every byte as written", float64(read)/1e6, counted(int(bodies), "read"))
	return judge("O1", "right bytes", good, lies(s, history.WrongBytes, "wrong bytes"))
}

// lies are the failures of one class.
func lies(s history.Snapshot, class history.Class, title string) (failures []Failure) {
	keys := map[int32][]history.Op{}
	if len(s.Lies) > 0 {
		keys = s.ByKey()
	}
	for _, l := range s.Lies {
		if l.Class == class && !(l.Op.Final && l.Op.Kind == history.List) {
			failures = append(failures, failure(fmt.Sprintf("%s in a %s", title, l.Op.Kind), l.Op, l.Detail, keys[l.Op.Key]))
		}
	}
	return failures
}
