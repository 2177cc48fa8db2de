package main

import (
	"bytes"
	"strings"
	"testing"

	"kintsugi/bench/chaos/scenario"
)

func TestChaosSettings(t *testing.T) {
	for _, c := range []struct {
		name, args string
		replay     string // without the seed
		nodes      int
		err        string
	}{
		{"default", "--seed 3", "kintsugi bench chaos --seed 3", 9, ""},
		{"all of it", "--scenario beyond-m --seed 3 --nodes 12 --ec 8+4 --duration 10m --out x --keep",
			"kintsugi bench chaos --duration 10m0s --ec 8+4 --nodes 12 --scenario beyond-m --seed 3", 12, ""},
		{"no such scenario", "--scenario peace", "", 0, `there is no scenario "peace"`},
		{"no such file", "--scenario peace.yaml", "", 0, "no such file"},
		{"code", "--ec 4", "", 0, "--ec"},
		{"more than there are", "--ec 8+4", "", 0, "code 8+4 on 9 nodes"},
		{"endpoint without keys", "--endpoint http://127.0.0.1:1 --seed 3", "kintsugi bench chaos --endpoint http://127.0.0.1:1 --seed 3", 9, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &chaosFlags{}
			cmd := newBenchChaosCommandFor(f)
			if err := cmd.ParseFlags(strings.Fields(c.args)); err != nil {
				t.Fatal(err)
			}
			err := f.settle(cmd)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || f.config.Replay != c.replay || f.config.Scenario.Cluster.Nodes != c.nodes {
				t.Errorf("got %v, %q, %d nodes", err, f.config.Replay, f.config.Scenario.Cluster.Nodes)
			}
		})
	}
}

func TestChaosList(t *testing.T) {
	cmd := newBenchChaosCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"list"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	all, err := scenario.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if !strings.Contains(out.String(), s.Name+" ") {
			t.Errorf("%s is not listed", s.Name)
		}
	}
}
