package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"kintsugi/bench"
)

// runBenchCommand runs "kintsugi bench" as a user does and returns what it prints.
func runBenchCommand(t *testing.T, status int, args ...string) (string, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.WriteHeader(status)
		}
	}))
	defer server.Close()
	t.Setenv("KINTSUGI_ROOT_ACCESS_KEY", testAccessKey)
	t.Setenv("KINTSUGI_ROOT_SECRET_KEY", testSecretKey)
	var out, progress bytes.Buffer
	cmd := newBenchCommand()
	cmd.SetOut(&out)
	cmd.SetErr(&progress)
	cmd.SilenceErrors = true
	cmd.SetArgs(append(args, "--endpoint", server.URL, "--duration=50ms", "--warmup=0", "--concurrency=2"))
	err := cmd.ExecuteContext(t.Context())
	if strings.Contains(out.String()+progress.String(), testSecretKey) {
		t.Error("the secret key was printed")
	}
	return out.String(), err
}

func TestBenchCommand(t *testing.T) {
	cases := []struct {
		name   string
		status int
		args   []string
		fails  error
		prints string
	}{
		{"table", 200, []string{"put", "--size=1KiB"}, nil, "p99.9"},
		{"medians", 200, []string{"put", "--rounds=2"}, nil, "medians of 2 rounds"},
		{"server fails", 503, []string{"put"}, errBenchFailed, "HTTP 503"},
		{"bad size", 200, []string{"put", "--size=much"}, bench.ErrConfig, ""},
		{"bad mix", 200, []string{"mixed", "--mix=all"}, bench.ErrConfig, ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			out, err := runBenchCommand(t, tc.status, tc.args...)
			if !errors.Is(err, tc.fails) || !strings.Contains(out, tc.prints) {
				t.Errorf("got %v and\n%s\nwant %v and %q", err, out, tc.fails, tc.prints)
			}
		})
	}
}

func TestBenchCommandJSON(t *testing.T) {
	out, err := runBenchCommand(t, 200, "put", "--json")
	var report bench.Report
	if jsonErr := json.Unmarshal([]byte(out), &report); err != nil || jsonErr != nil || len(report.Phases) != 1 {
		t.Errorf("got %v, %v:\n%s", err, jsonErr, out)
	}
}
