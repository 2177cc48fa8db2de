package scenario

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryScenarioParses(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 || all[0].Name != DefaultName {
		t.Errorf("got %d scenarios, the first is %s", len(all), all[0].Name)
	}
}

func TestParseRefuses(t *testing.T) {
	const head = "name: x\nproves: y\n"
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "empty"},
		{"no name", "proves: y\n", "name and proves"},
		{"unknown field", head + "stesp: []\n", `line 3: "stesp" is not known here; there are: cluster, load, name, proves, rest, steps`},
		{"twice", head + "name: z\n", "line 3: name comes twice"},
		{"unknown fault", head + "steps:\n  - {at: 1s, fault: bribe, nodes: a gateway}\n", `line 4: there is no fault "bribe"`},
		{"no duration", head + "steps:\n  - {at: 1s, fault: kill, nodes: a gateway}\n", "line 4: kill needs for"},
		{"duration", head + "steps:\n  - {at: 1s, fault: wipe, nodes: a node, for: 1s}\n", "leave for out"},
		{"no count", head + "steps:\n  - {at: 1s, fault: flip, nodes: a node}\n", "flip needs count"},
		{"times", head + "steps:\n  - {at: 1s, fault: kill, nodes: a node, for: 3s, every: 2s, times: 2}\n", "every"},
		{"nodes for nobody", head + "steps:\n  - {at: 1s, fault: grow, count: 1, nodes: a node}\n", "grow is done to no node"},
		{"no moment", head + "steps:\n  - {at: then-2s, fault: wipe, nodes: a node}\n", `line 4: at: "then-2s": want a time`},
		{"delay", head + "steps:\n  - {at: 1s, fault: delay, nodes: a node, for: 3s}\n", "by says"},
		{"by", head + "steps:\n  - {at: 1s, fault: stop, nodes: a node, for: 3s, by: 1s}\n", "by says"},
		{"share", head + "steps:\n  - {at: 1s, fault: kill, nodes: a node, for: 3s, share: 5%}\n", "kill takes no share"},
		{"no share", head + "steps:\n  - {at: 1s, fault: read-errors, nodes: a node, for: 3s, share: 0%}\n", `"0%" is not a share`},
		{"moment", head + "steps:\n  - {at: later, fault: wipe, nodes: a node}\n", `line 4: at: "later": want a time`},
		{"selector", head + "steps:\n  - at: 1s\n    fault: wipe\n    nodes: two brave nodes\n", `line 6: nodes: "two brave nodes": want a number`},
		{"code", head + "cluster: {ec: 4x2}\n", "line 3: ec: code"},
		{"wide code", head + "cluster: {ec: 8+4}\n", "code 8+4 on 9 nodes"},
		{"size", head + "load:\n  sizes: {1B-lots: 3}\n", `line 4: "lots"`},
		{"mix", head + "load: {mix: {steal: 3}}\n", "steal: 3: want the share"},
		{"not yaml", "name: [", "yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	s, err := Parse([]byte(`
name: x
proves: y
cluster: {nodes: 12, ec: 8+4, disk: 1GiB}
load: {rate: unlimited, sizes: {1B: 1, 4KiB-1MiB: 2.5}, mix: {get: 3, put: 1}}
steps:
  - {at: healed+2s, fault: kill, nodes: m+1 storage nodes, for: 3s, every: 10s, times: 2, errors: honest}
`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Cluster.Nodes != 12 || s.Cluster.Metas != 3 || s.Cluster.Code != (Code{8, 4}) || s.Cluster.Disk != 1<<30 {
		t.Errorf("cluster %+v", s.Cluster)
	}
	if want := (SizeShare{4 << 10, 1 << 20, 2.5}); s.Load.Rate != 0 || len(s.Load.Sizes) != 2 || s.Load.Sizes[1] != want || len(s.Load.Mix) != 2 {
		t.Errorf("load %+v", s.Load)
	}
	step := s.Steps[0]
	if step.At != (Moment{Healed, 2 * time.Second}) || step.Nodes.Count != (Count{1, true, false}) || step.Nodes.Role != RoleStorage || step.Times != 2 {
		t.Errorf("step %+v", step)
	}
}

func TestParseMoment(t *testing.T) {
	for text, want := range map[string]Moment{
		"15s": {Began, 15 * time.Second}, "healed": {Since: Healed}, "healed + 2s": {Healed, 2 * time.Second},
		"rebuilt+1m": {Rebuilt, time.Minute}, "then+500ms": {Then, 500 * time.Millisecond},
	} {
		if got, err := parseMoment(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
}

func TestIllDrives(t *testing.T) {
	s, err := Parse([]byte(`
name: x
proves: y
steps:
  - {at: 1s, fault: delay, nodes: a storage node, for: 3s, by: 20ms}
  - {at: 5s, fault: read-errors, nodes: a storage node, for: 3s, share: 5%}
  - {at: 9s, fault: write-errors, nodes: a storage node, for: 3s}
`))
	if err != nil {
		t.Fatal(err)
	}
	if !s.NeedsFaultyDrives() || s.NeedsNetwork() {
		t.Errorf("drives %v, network %v", s.NeedsFaultyDrives(), s.NeedsNetwork())
	}
	if s.Steps[0].By != 20*time.Millisecond || s.Steps[1].Share != 0.05 || s.Steps[2].Share != 1 {
		t.Errorf("steps %+v", s.Steps)
	}
}

func TestChoose(t *testing.T) {
	nodes := []Candidate{{"g1", RoleGateway, 0, false}, {"m1", RoleMeta, 2, false}, {"m2", RoleMeta, 6, false}, {"m3", RoleMeta, 0, true},
		{"n1", RoleStorage, 0, false}, {"n2", RoleStorage, 0, true}, {"n3", RoleStorage, 0, false}, {"n4", RoleStorage, 0, false}}
	for _, c := range []struct {
		selector, last string
		want           string // all that may be chosen
		count          int    // of them; 0: it fails
	}{
		{"2 storage nodes", "", "n1 n3 n4", 2},
		{"m storage nodes", "", "n1 n3 n4", 2},
		{"m+1 storage nodes", "", "n1 n3 n4", 3},
		{"m+2 storage nodes", "", "", 0},
		{"a storage node", "", "n1 n3 n4", 1},
		{"metadata leader", "", "m2", 1},
		{"a metadata follower", "", "m1", 1},
		{"next storage node", "n1", "n3", 1},
		{"next storage node", "n2", "n3", 1},
		{"next storage node", "n4", "n1", 1},
		{"all nodes", "", "g1 m1 m2 n1 n3 n4", 6},
		{"gateway", "", "g1", 1},
		{"n2", "", "n2", 1},
		{"n9", "", "", 0},
	} {
		t.Run(c.selector, func(t *testing.T) {
			s, err := ParseSelector(c.selector)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Choose(nodes, 2, c.last, rand.New(rand.NewPCG(1, 2)))
			if len(got) != c.count || (err != nil) != (c.count == 0) {
				t.Fatalf("got %v, %v", got, err)
			}
			for _, n := range got {
				if !slices.Contains(strings.Fields(c.want), n) {
					t.Errorf("got %v of %s", got, c.want)
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name: x\nproves: y\nsteps:\n  - {at: healed+1s, fault: flip, nodes: m nodes, count: 3}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err == nil && (s.Name == "" || s.Cluster.Nodes < s.Cluster.Code.K) {
			t.Errorf("accepted %+v", s)
		}
	})
}
