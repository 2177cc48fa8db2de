package main

import (
	"strings"
	"testing"

	"kintsugi/internal/drive"
)

func TestJudge(t *testing.T) {
	member := func(dir string, cluster, id byte) probed {
		return probed{dir: dir, state: drive.Member, id: drive.Identity{Cluster: drive.ID{cluster}, Drive: drive.ID{id}}}
	}
	birth := func(dir string, cluster, id byte) probed {
		p := member(dir, cluster, id)
		p.state = drive.Birth
		return p
	}
	empty := func(dir string) probed { return probed{dir: dir, state: drive.Empty} }
	gone := func(dir string) probed { return probed{dir: dir, state: drive.Missing} }
	broken := func(dir string) probed { return probed{dir: dir, state: drive.Damaged} }
	failed := func(dir string, err error) probed { return probed{dir: dir, state: drive.Missing, err: err} }

	cases := []struct {
		name  string
		found []probed
		fresh bool
		err   string
	}{
		{"nothing yet", []probed{gone("a"), empty("b")}, true, ""},
		{"a birth cut short", []probed{birth("a", 1, 1), empty("b")}, true, ""},
		{"a birth nearly done", []probed{member("a", 1, 1), birth("b", 1, 2)}, false, ""},
		{"all there", []probed{member("a", 1, 1), member("b", 1, 2)}, false, ""},
		{"some lost", []probed{member("a", 1, 1), gone("b"), empty("c"), broken("d")}, false, ""},
		{"another cluster", []probed{member("a", 1, 1), member("b", 2, 2)}, false, "another cluster"},
		{"another cluster's birth", []probed{birth("a", 2, 1), member("b", 1, 2)}, false, "another cluster"},
		{"a copy", []probed{member("a", 1, 1), member("b", 1, 1)}, false, "same identity"},
		{"somebody's files", []probed{member("a", 1, 1), failed("b", drive.ErrNotADrive)}, false, "not a Kintsugi drive"},
		{"the future", []probed{failed("a", drive.ErrFuture)}, false, "newer version"},
		{"damaged and alone", []probed{broken("a"), empty("b")}, true, "cannot be read"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, fresh, err := judge(c.found)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error = %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil || fresh != c.fresh {
				t.Errorf("judge = fresh %v, %v; want %v", fresh, err, c.fresh)
			}
		})
	}
}
