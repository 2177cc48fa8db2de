package replica

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"kintsugi/internal/sealed"
)

func TestNextChange(t *testing.T) {
	set := func(ids ...uint64) map[uint64]bool {
		m := map[uint64]bool{}
		for _, id := range ids {
			m[id] = true
		}
		return m
	}
	ids := func(ids ...uint64) []uint64 { return ids }
	cases := []struct {
		name string
		m    members
		want int
		out  string // "" is no change
	}{
		{"all well", members{voters: ids(1, 2, 3), alive: ids(1, 2, 3)}, 3, ""},
		{"spares stay spares", members{voters: ids(1, 2, 3), alive: ids(1, 2, 3, 4)}, 3, ""},
		{"a new drive in a small cluster", members{voters: ids(1), alive: ids(1, 2)}, 2, "learner 2"},
		{"a learner that lags is waited for", members{voters: ids(1), learners: ids(2), alive: ids(1, 2)}, 2, ""},
		{"a learner that caught up votes", members{voters: ids(1), learners: ids(2), alive: ids(1, 2), caughtUp: set(2)}, 2, "voter 2"},
		{"a spare takes over from the dead", members{voters: ids(1, 2, 3), alive: ids(1, 2, 4)}, 3, "learner 4"},
		{"and replaces it in one change", members{voters: ids(1, 2, 3), learners: ids(4), alive: ids(1, 2, 4), caughtUp: set(4)}, 3, "voter 4 remove 3"},
		{"even where more are wanted", members{voters: ids(1, 2, 3), learners: ids(4), alive: ids(1, 2, 4), caughtUp: set(4)}, 5, "voter 4 remove 3"},
		{"even one that may come back", members{voters: ids(1, 2, 3), learners: ids(4), alive: ids(1, 2, 3, 4), away: ids(3), caughtUp: set(4)}, 5, "voter 4 remove 3"},
		{"who is away does not come", members{voters: ids(1, 2, 4), alive: ids(1, 2, 3, 4), away: ids(3)}, 5, ""},
		{"a dead learner leaves", members{voters: ids(1, 2, 3), learners: ids(4), alive: ids(1, 2, 3)}, 3, "remove 4"},
		{"the dead may come back", members{voters: ids(1, 2, 3, 4, 5), alive: ids(1, 2, 3, 4)}, 5, ""},
		{"unless they are abandoned", members{voters: ids(1, 2, 3, 4, 5), alive: ids(1, 2, 3, 4), abandoned: set(5)}, 5, "remove 5"},
		{"one too many, dead", members{voters: ids(1, 2, 3, 4), alive: ids(1, 2, 3)}, 3, "remove 4"},
		{"one too many, alive", members{voters: ids(1, 2, 3, 4), alive: ids(1, 2, 3, 4), leader: 4}, 3, "remove 3"},
		{"no quorum, no change", members{voters: ids(1, 2, 3), alive: ids(1), abandoned: set(2, 3)}, 3, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			changes, ok := nextChange(c.m, c.want)
			if got := describe(changes); got != c.out || ok != (c.out != "") {
				t.Errorf("nextChange = %q, %v; want %q", got, ok, c.out)
			}
		})
	}
}

func describe(changes []*raftpb.ConfChangeSingle) string {
	verbs := map[raftpb.ConfChangeType]string{
		raftpb.ConfChangeAddNode: "voter", raftpb.ConfChangeRemoveNode: "remove", raftpb.ConfChangeAddLearnerNode: "learner",
	}
	var words []string
	for _, c := range changes {
		words = append(words, fmt.Sprint(verbs[c.GetType()], " ", c.GetNodeId()))
	}
	return strings.Join(words, " ")
}

// Every committed entry is on a quorum; forced survivors must overlap every one.
func TestMayForceOnlyWhereSurvivorsHoldEverything(t *testing.T) {
	for voters := 1; voters <= 5; voters++ {
		for alive := 0; alive <= voters; alive++ {
			quorum := voters/2 + 1
			dead := voters - alive
			holdsAll := dead < quorum // no quorum consists of dead hosts alone
			want := alive < quorum && alive > 0 && holdsAll
			if got := mayForce(voters, alive); got != want {
				t.Errorf("mayForce(%d, %d) = %v, want %v", voters, alive, got, want)
			}
		}
	}
}

func TestTolerates(t *testing.T) {
	for replicas, want := range []int{0, 0, 1, 1, 2, 2, 3, 3, 4, 4} {
		if got := Tolerates(replicas); got != want {
			t.Errorf("Tolerates(%d) = %d, want %d", replicas, got, want)
		}
	}
}

func TestNewestLineage(t *testing.T) {
	cases := []struct {
		name     string
		lineages [][]uint64
		want     []uint64
		conflict bool
	}{
		{"never forced", [][]uint64{nil, nil, nil}, nil, false},
		{"one was left behind", [][]uint64{{7}, nil}, []uint64{7}, false},
		{"left behind twice", [][]uint64{{7}, {7, 9}, nil}, []uint64{7, 9}, false},
		{"each went on alone", [][]uint64{{7}, {8}}, nil, true},
		{"the shorter is no beginning of the longer", [][]uint64{{7}, {8, 9}}, nil, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			records := map[string]record{}
			for i, l := range c.lineages {
				records[fmt.Sprint("d", i)] = record{ID: uint64(i + 1), Lineage: l}
			}
			got, err := newestLineage(records)
			if (err != nil) != c.conflict || (err == nil && !slices.Equal(got, c.want)) {
				t.Errorf("newestLineage = %v, %v; want %v, conflict %v", got, err, c.want, c.conflict)
			}
		})
	}
}

func TestRecordRefusesAMissingID(t *testing.T) {
	dir := t.TempDir()
	makeMetaDir(t, dir)
	if err := (record{}).write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(dir); !errors.Is(err, sealed.ErrDamaged) {
		t.Errorf("readRecord = %v, want ErrDamaged", err)
	}
}

func makeMetaDir(t *testing.T, drive string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(drive, metaDir), 0o700); err != nil {
		t.Fatal(err)
	}
}
