package membership

import (
	"cmp"
	"time"

	"kintsugi/placement"
)

// FirstQuiet is how long no drive must have come before the first map is made.
const FirstQuiet = 2 * time.Second

// FirstMap returns what the first map of a cluster is made of, ok is false while it must wait. With a code that was chosen it is made
// as soon as there are drives enough and no more come; else all seeds must be there, for code then goes by the number of drives.
func FirstMap(f Founding, t *Table, now time.Time, quiet time.Duration, code func(drives int) (k, m int)) (b Birth, ok bool) {
	if now.Sub(t.news) < cmp.Or(quiet, FirstQuiet) {
		return Birth{}, false
	}
	b = Birth{Founding: f, K: f.K, M: f.M}
	seeds := 0
	for _, name := range t.names() {
		e := t.nodes[name]
		if !e.up {
			continue
		}
		if e.node.Host != 0 {
			seeds++
		}
		for _, r := range e.drives {
			b.Drives = append(b.Drives, placement.Drive{ID: r.ID, Node: name, Zone: e.node.Zone, Weight: DefaultWeight})
		}
	}
	if len(b.Drives) == 0 || f.K == 0 && seeds < f.Seeds {
		return Birth{}, false
	}
	if f.K == 0 {
		b.K, b.M = code(len(b.Drives))
	}
	return b, len(b.Drives) >= b.K+b.M
}

// Birth is what a first map is made of.
type Birth struct {
	Founding Founding
	K, M     int
	Drives   []placement.Drive
}

// Map solves the ring, which takes a while where there are many drives.
func (b Birth) Map() (*placement.Map, error) {
	return placement.Birth(b.Founding.Cluster, b.Founding.Partitions, b.K, b.M, b.Drives)
}
