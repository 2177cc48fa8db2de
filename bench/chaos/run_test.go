package chaos

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/oracle"
	"kintsugi/bench/chaos/report"
	"kintsugi/bench/chaos/scenario"
)

// shortConfig is a run against a server in this process.
func shortConfig(t *testing.T, endpoint string) Config {
	t.Helper()
	s := scenario.Default()
	s.Name, s.Proves, s.Rest = "test", "nothing", 200*time.Millisecond
	s.Load.Clients, s.Load.Rate, s.Load.Keys, s.Load.Timeout = 8, 1500, 24, 2*time.Second
	s.Load.Sizes = []scenario.SizeShare{{Min: 1, Max: 8 << 10, Share: 1}}
	s.Load.Mix[history.Multipart] = 0 // five megabytes a piece
	return Config{Scenario: s, Seed: 5, Endpoints: []string{endpoint}, AccessKey: "key", SecretKey: "secret", Replay: "again", Settle: 100 * time.Millisecond}
}

func failed(d report.Data) (ids []string) {
	for _, v := range d.Verdicts {
		if v.Status == oracle.Failed || v.Status == oracle.Undecided {
			ids = append(ids, v.ID)
		}
	}
	return ids
}

// runAgainst makes a run without faults.
func runAgainst(t *testing.T, l *liar, rest time.Duration) report.Data {
	t.Helper()
	server := httptest.NewServer(l)
	defer server.Close()
	c := shortConfig(t, server.URL)
	c.Scenario.Rest = rest
	d, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Every lie must be caught by the oracle that is made for it.
func TestLiesAreCaught(t *testing.T) {
	for _, c := range []struct {
		lie  string
		want string // the oracle that must object
	}{
		{"", ""},
		{"wrong byte", "O1"},
		{"stale", "O2"},
		{"lost", "O2"},
		{"no condition", "O2"},
		{"undead", "O2"},
		{"not found", "O4"},
		{"short", "O4"},
		{"unavailable", "O5"},
		{"cut", "O5"},
		{"phantom", "O3"},
		{"unlisted", "O3"},
	} {
		t.Run("lie "+c.lie, func(t *testing.T) {
			t.Parallel()
			var d report.Data
			var l *liar
			// A busy machine does little in a time, and then there are few lies to be caught.
			for rest := 500 * time.Millisecond; rest < 10*time.Second; rest *= 2 {
				l = newLiar(c.lie)
				d = runAgainst(t, l, rest)
				if c.want == "" || strings.Contains(strings.Join(failed(d), " "), c.want) {
					break
				}
			}
			got := strings.Join(failed(d), " ")
			if !strings.Contains(got, c.want) || (c.want == "") != (got == "") || (d.Result == report.Passed) != (got == "") {
				t.Errorf("%d lies: objected %q, want %q; %s", l.lies, got, c.want, d.Result)
				_ = d.WriteTable(os.Stderr)
			}
		})
	}
}

// A run that is broken off tells what was seen until then, and does not pass.
func TestBrokenOff(t *testing.T) {
	server := httptest.NewServer(newLiar(""))
	defer server.Close()
	c := shortConfig(t, server.URL)
	c.Scenario.Rest = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	d, err := Run(ctx, c)
	if err != nil || d.Result != report.Broken || len(d.Kinds) == 0 {
		t.Errorf("the run is %q with %d kinds of requests, %v", d.Result, len(d.Kinds), err)
	}
	for _, v := range d.Verdicts {
		if want := map[string]oracle.Status{"O1": oracle.Passed, "O2": oracle.Passed, "O3": oracle.Skipped, "O5": oracle.Passed, "O6": oracle.Skipped}[v.ID]; want != "" && v.Status != want {
			t.Errorf("%s %s: %s, want %s", v.ID, v.Status, v.Summary, want)
		}
	}
}

func TestFaultCommand(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "break.sh")
	text := "#!/bin/sh\necho \"$1 $2\" >> " + filepath.Join(dir, "log") + "\n[ $1 = wipe ] && { echo no hands; exit 77; }\n[ $1 != flip ]\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(newLiar(""))
	defer server.Close()
	c := shortConfig(t, server.URL)
	c.FaultCommand = script + " {fault} {node}"
	s, err := scenario.Parse([]byte(`
name: x
proves: y
steps:
  - {at: 100ms, fault: kill, nodes: n3, for: 200ms}
  - {at: 200ms, fault: wipe, nodes: metadata leader}
  - {at: 300ms, fault: flip, nodes: n1, count: 1}
`))
	if err != nil {
		t.Fatal(err)
	}
	c.Scenario.Steps = s.Steps
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	d, err := Run(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if got := slices.Sorted(strings.Lines(string(log))); err != nil || strings.Join(got, "") != "flip n1\nkill n3\nstart n3\nwipe m1\n" {
		t.Errorf("the command was called with %q, %v", got, err)
	}
	var states []string
	for _, f := range d.Faults {
		states = append(states, f.Status)
	}
	if got := strings.Join(states, " "); got != "injected skipped failed" || d.Result != report.Failed || d.Faults[1].Reason == "" {
		t.Errorf("faults are %s, the run %s", got, d.Result)
	}
}
