package report

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/oracle"
)

func testData() Data {
	ops := []history.Op{
		{Begin: 0, End: 40 * time.Millisecond, Kind: history.Put, SizeBytes: 100},
		{Begin: 50 * time.Millisecond, End: 60 * time.Millisecond, Kind: history.Get, SizeBytes: 100},
		{Begin: 150 * time.Millisecond, End: 250 * time.Millisecond, Kind: history.Get, Outcome: history.Unavailable, Status: 503},
		{Begin: 150 * time.Millisecond, End: 400 * time.Millisecond, Kind: history.Get, SizeBytes: 7},
	}
	s := history.Snapshot{Ops: ops, Messages: []history.Message{{Op: ops[2], Text: "</script><b>slow down"}}}
	took := 1.5
	return Data{
		Format: Format, Scenario: "test", Proves: "that it can be drawn", Seed: 7, Replay: "kintsugi bench chaos --seed 7", Seconds: 0.3, Result: Failed,
		Verdicts: []oracle.Verdict{{ID: "O5", Name: "served", Status: oracle.Failed, Summary: "1: a get failed", Count: 1,
			Failures: []oracle.Failure{{Title: "a get failed", History: []string{"> get"}, Logs: []string{"n1 panic"}}}}},
		Faults: []Fault{{Number: 1, Fault: "kill", Nodes: []string{"n1", "n2"}, Status: Injected, Begin: 0.1, End: 0.2, Detected: &took},
			{Number: 2, Fault: "cut", Wanted: "a storage node", Status: FaultSkipped, Reason: "no means"}},
		Kinds: NewKinds(ops), Errors: NewErrors(s, nil), Timeline: NewTimeline(ops, 300*time.Millisecond),
		Samples: []Sample{{At: 0.1, Up: 3, Nodes: 3, ByLost: []uint64{4}}},
	}
}

func TestTimeline(t *testing.T) {
	d := testData()
	tl := d.Timeline
	if len(tl.Requests) != 3 || tl.Requests[0] != 2 || tl.Requests[2] != 1 || tl.Errors[2] != 1 || tl.Bytes[0] != 200 || tl.P99[0] != 0.04 {
		t.Errorf("%+v", tl)
	}
	if len(d.Kinds) != 2 || d.Kinds[0].Kind != "get" || d.Kinds[0].Count != 3 || d.Kinds[0].Errors != 1 || d.Kinds[0].Max != 0.25 {
		t.Errorf("%+v", d.Kinds)
	}
	if len(d.Errors) != 1 || d.Errors[0].Text == "" || d.Errors[0].Status != 503 {
		t.Errorf("%+v", d.Errors)
	}
}

// The page must open from a disk without a network, and must not be broken by what servers say.
func TestPage(t *testing.T) {
	d := testData()
	var b bytes.Buffer
	if err := d.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if name := os.Getenv("CHAOS_PAGE"); name != "" {
		if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	html := b.String()
	if strings.Count(html, "</script>") != 1 || !strings.Contains(html, "no means") || !strings.Contains(html, "<title>Chaos: test, seed 7</title>") {
		t.Error("the page lacks something, or its script was ended by data")
	}
	if found := regexp.MustCompile(`(src|href)\s*=|@import|url\(|fetch\(`).FindString(html); found != "" {
		t.Errorf("the page refers to something: %s", found)
	}
}

func TestJSON(t *testing.T) {
	d := testData()
	var b bytes.Buffer
	if err := d.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var again Data
	if err := json.Unmarshal(b.Bytes(), &again); err != nil || again.Seed != 7 || *again.Faults[0].Detected != 1.5 {
		t.Errorf("%v, %+v", err, again)
	}
}

func TestTable(t *testing.T) {
	d := testData()
	var b bytes.Buffer
	if err := d.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kill", "n1 n2", "+1.5 s", "cut a storage node, skipped: no means", "O5", "FAILED", "again: kintsugi bench chaos --seed 7"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &b)
		}
	}
}
