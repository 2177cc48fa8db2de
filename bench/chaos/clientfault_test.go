package chaos

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"kintsugi/bench/chaos/report"
	"kintsugi/bench/chaos/scenario"
)

// gullible is a store that takes what came of a body for the whole, if it believes everything.
type gullible struct {
	*liar
	believes bool
}

func (g *gullible) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	_, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if err != nil && g.believes && r.Method == http.MethodPut {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.put(httptest.NewRecorder(), r.Header, name, body)
		return
	}
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.liar.ServeHTTP(w, r)
}

func TestClientFaults(t *testing.T) {
	for _, c := range []struct {
		name, step string
		believes   bool
		caught     string // oracles that object
	}{
		{"vanish", "{at: 0s, fault: vanish, count: 8, for: 1s}", false, ""},
		{"vanish and leave a part", "{at: 0s, fault: vanish, count: 100, for: 1s}", true, "O4"},
		{"crawl", "{at: 0s, fault: crawl, count: 8, for: 1s}", false, ""},
		{"crowd", "{at: 0s, fault: crowd, count: 100, for: 1s}", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(&gullible{newLiar(""), c.believes})
			defer server.Close()
			config := shortConfig(t, server.URL)
			s, err := scenario.Parse([]byte("name: x\nproves: y\nsteps:\n  - " + c.step + "\n"))
			if err != nil {
				t.Fatal(err)
			}
			config.Scenario.Steps = s.Steps
			d, err := Run(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(failed(d), " ")
			if (c.caught == "") != (got == "") || !strings.Contains(got, c.caught) || d.Faults[0].Status != report.Injected {
				t.Errorf("objected %q, want %q; the fault is %s %s", got, c.caught, d.Faults[0].Status, d.Faults[0].Reason)
				_ = d.WriteTable(os.Stderr)
			}
		})
	}
}
