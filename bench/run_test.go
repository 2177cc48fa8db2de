package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// short is a configuration that is over soon.
func short(endpoint string, op Operation) Config {
	return Config{
		Operation: op, Endpoint: endpoint, AccessKey: "access", SecretKey: "secret", Workers: 4,
		SizeBytes: 4096, Objects: 50, Duration: 150 * time.Millisecond, Verify: true, Timeout: 5 * time.Second,
	}
}

func mustRun(t *testing.T, c Config) *Report {
	t.Helper()
	report, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestRunEveryOperation(t *testing.T) {
	cases := []struct {
		op    Operation
		kinds []string
	}{
		{Put, []string{kindPut}},
		{Get, []string{kindGet}},
		{Mixed, []string{kindDelete, kindGet, kindHead, kindPut}},
		{List, []string{kindPage, kindWalk}},
	}
	for _, tc := range cases {
		t.Run(string(tc.op), func(t *testing.T) {
			_, endpoint := startFake(t)
			report := mustRun(t, short(endpoint, tc.op))
			if n := report.Errors(); n != 0 {
				t.Fatalf("%d errors: %+v", n, report.Phases)
			}
			var kinds []string
			for _, row := range report.Phases[0].Rows {
				kinds = append(kinds, row.Kind)
				if row.Count == 0 || row.PerSecond <= 0 || row.P50Ms <= 0 || row.MaxMs < row.P99Ms {
					t.Errorf("row makes no sense: %+v", row)
				}
			}
			if strings.Join(kinds, ",") != strings.Join(tc.kinds, ",") {
				t.Errorf("got rows %v, want %v", kinds, tc.kinds)
			}
			if report.Server != "fake" {
				t.Errorf("got server %q", report.Server)
			}
		})
	}
}

func TestRunPayloads(t *testing.T) {
	for payload, want := range map[Payload]string{
		PayloadUnsigned: "PUT " + unsignedPayload, PayloadChunked: "PUT " + chunkedPayload,
	} {
		t.Run(string(payload), func(t *testing.T) {
			fake, endpoint := startFake(t)
			c := short(endpoint, Get)
			c.Payload, c.SizeBytes, c.Objects = payload, 200_001, 3
			if n := mustRun(t, c).Errors(); n != 0 {
				t.Fatalf("%d errors", n)
			}
			if !strings.Contains(strings.Join(fake.requests, "\n"), want) {
				t.Errorf("no request %q", want)
			}
		})
	}
}

func TestRunSignedPayload(t *testing.T) {
	_, endpoint := startFake(t)
	c := short(endpoint, Put)
	c.Payload = PayloadSigned
	if n := mustRun(t, c).Errors(); n != 0 {
		t.Fatalf("%d errors", n)
	}
}

func TestRunNoticesWrongBytes(t *testing.T) {
	fake, endpoint := startFake(t)
	fake.corrupt = true
	report := mustRun(t, short(endpoint, Get))
	row := report.Phases[0].Rows[0]
	if row.Count != 0 || row.Errors == 0 || row.ErrorKinds[0].Code != "wrong bytes" {
		t.Errorf("got %+v", row)
	}
}

func TestRunNoticesMissingKey(t *testing.T) {
	fake, endpoint := startFake(t)
	fake.omitKey = "list-50/d00000001/0000000013"
	report := mustRun(t, short(endpoint, List))
	if row := report.Phases[0].Rows[1]; row.Kind != kindWalk || row.Errors == 0 {
		t.Errorf("got %+v", row)
	}
}

func TestRunReportsServerErrors(t *testing.T) {
	fake, endpoint := startFake(t)
	fake.failWith = 503
	report := mustRun(t, short(endpoint, Put))
	got := report.Phases[0].Rows[0].ErrorKinds
	if len(got) != 1 || got[0].Code != "SlowDown" || !strings.Contains(got[0].First, "because") {
		t.Errorf("got %+v", got)
	}
	if _, err := Run(t.Context(), short(endpoint, Get)); !errors.Is(err, ErrPrepare) {
		t.Errorf("prepare against a failing server: got %v, want ErrPrepare", err)
	}
}

func TestRunReportsErrorsOfPreparation(t *testing.T) {
	fake, endpoint := startFake(t)
	fake.failTimes = 3
	report := mustRun(t, short(endpoint, Get))
	if len(report.Phases) != 2 || report.Phases[0].Name != "prepare" || report.Errors() != 3 {
		t.Errorf("got %d errors in %+v", report.Errors(), report.Phases)
	}
}

func TestRunWithoutKeepAlive(t *testing.T) {
	fake, endpoint := startFake(t)
	fake.closeConns = true
	if n := mustRun(t, short(endpoint, Put)).Errors(); n != 0 {
		t.Errorf("%d errors", n)
	}
}

func TestRunPagesThroughListing(t *testing.T) {
	_, endpoint := startFake(t)
	c := short(endpoint, List)
	c.Objects, c.Workers = 2345, 2
	report := mustRun(t, c)
	if n := report.Errors(); n != 0 {
		t.Fatalf("%d errors: %+v", n, report.Phases)
	}
	page, whole := report.Phases[0].Rows[0], report.Phases[0].Rows[1]
	if page.Count < 3*whole.Count {
		t.Errorf("%d pages for %d whole listings, want 3 each", page.Count, whole.Count)
	}
}

func TestRunCleansUp(t *testing.T) {
	fake, endpoint := startFake(t)
	c := short(endpoint, Get)
	c.Objects, c.Cleanup = 1234, true
	mustRun(t, c)
	if len(fake.objects) != 0 || len(fake.buckets) != 0 {
		t.Errorf("left behind: %d objects, %d buckets", len(fake.objects), len(fake.buckets))
	}
}

func TestRunReusesObjects(t *testing.T) {
	_, endpoint := startFake(t)
	c := short(endpoint, Get)
	mustRun(t, c)
	c.Reuse = true
	if n := mustRun(t, c).Errors(); n != 0 {
		t.Errorf("%d errors", n)
	}
	c.Seed = 7
	if n := mustRun(t, c).Errors(); n == 0 {
		t.Error("bodies of another seed passed for right")
	}
}

func TestRunInterrupted(t *testing.T) {
	_, endpoint := startFake(t)
	c := short(endpoint, Put)
	c.Duration = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	report, err := Run(ctx, c)
	if err != nil || !report.Interrupted || report.Phases[0].Rows[0].Count == 0 || report.Errors() != 0 {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestRunMetersServer(t *testing.T) {
	_, endpoint := startFake(t)
	c := short(endpoint, Put)
	c.ServerPID = os.Getpid()
	p := mustRun(t, c).Phases[0]
	if p.ServerCPUMs <= 0 || p.ServerRSSBytes <= 0 || p.ServerPeakRSSBytes < p.ServerRSSBytes || p.ClientCPUMs <= 0 {
		t.Errorf("got %+v", p)
	}
	c.ServerPID = 1 << 30
	if _, err := Run(t.Context(), c); err == nil {
		t.Error("no error for a process that does not exist")
	}
}

func TestRunWithoutServer(t *testing.T) {
	if _, err := Run(t.Context(), short("http://127.0.0.1:1", Put)); err == nil || code(err) != "connection refused" {
		t.Errorf("got %v", err)
	}
}

func TestReportFormats(t *testing.T) {
	fake, endpoint := startFake(t)
	fake.failWith = 503
	var progress bytes.Buffer
	c := short(endpoint, Put)
	c.Progress, c.ProgressTTY, c.Duration = &progress, true, 700*time.Millisecond
	report := mustRun(t, c)
	var table, encoded bytes.Buffer
	if err := errors.Join(report.WriteTable(&table), report.WriteJSON(&encoded)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"put 4 KiB", "p99.9", "SlowDown; the first: ", "server " + endpoint} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, table.String())
		}
	}
	if !strings.Contains(progress.String(), "ETA") {
		t.Errorf("progress lacks an ETA: %q", progress.String())
	}
	var back Report
	if err := json.Unmarshal(encoded.Bytes(), &back); err != nil || back.Errors() != report.Errors() {
		t.Errorf("JSON does not come back: %v", err)
	}
}
