package membership

import (
	"cmp"
	"time"

	"kintsugi/placement"
)

// FirstQuiet is how long no drive must have come before the first map is made.
const FirstQuiet = 2 * time.Second

// FirstMap returns the first map of a cluster, nil while it must wait. With a code that was chosen it is made as soon as there are
// drives enough and no more come; else all seeds must be there, for code then goes by the number of drives.
func FirstMap(f Founding, t *Table, now time.Time, quiet time.Duration, code func(drives int) (k, m int)) (*placement.Map, error) {
	if now.Sub(t.news) < cmp.Or(quiet, FirstQuiet) {
		return nil, nil
	}
	var drives []placement.Drive
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
			drives = append(drives, placement.Drive{ID: r.ID, Node: name, Zone: e.node.Zone, Weight: DefaultWeight})
		}
	}
	k, m := f.K, f.M
	if k == 0 {
		if seeds < f.Seeds || len(drives) == 0 {
			return nil, nil
		}
		k, m = code(len(drives))
	}
	if len(drives) < k+m {
		return nil, nil
	}
	return placement.Birth(f.Cluster, f.Partitions, k, m, drives)
}
