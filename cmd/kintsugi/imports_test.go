package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "kintsugi/"

// importRules say which of the project's packages each layer may import. A layer is
// the first element of the path below the module; what is not listed here is refused,
// so that a new layer gets its rule when it is made.
var importRules = map[string][]string{
	"placement":   {},
	"erasure":     {},
	"bench":       {"bench"},
	"internal":    {"internal", "placement"},
	"meta":        {"meta", "placement", "internal"},
	"storagenode": {"storagenode", "placement", "erasure", "internal"},
	"gateway":     {"gateway", "meta", "storagenode", "placement", "erasure", "internal"},
	"cmd":         {"cmd", "gateway", "meta", "storagenode", "placement", "erasure", "internal", "bench"},
}

// pure packages take values and give values: what does I/O, keeps time or logs has no place there.
var pure = []string{"placement", "erasure"}

var impure = []string{"context", "io", "log", "log/slog", "net", "net/http", "os", "time",
	"github.com/prometheus/client_golang/prometheus", "github.com/valyala/fasthttp"}

func TestImportsPointDown(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		from := layer(fields[0])
		allowed, known := importRules[from]
		if !known {
			t.Errorf("%s: no rule says what this layer may import", fields[0])
		}
		for _, to := range fields[1:] {
			if strings.HasPrefix(to, module) && layer(to) != from && !slices.Contains(allowed, layer(to)) {
				t.Errorf("%s must not import %s", fields[0], to)
			}
			if slices.Contains(pure, from) && slices.Contains(impure, to) {
				t.Errorf("%s is pure and must not import %s", fields[0], to)
			}
		}
	}
}

func layer(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, module), "/")
	return first
}
