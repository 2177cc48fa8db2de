package bench

import (
	"bytes"
	"strings"
	"testing"
)

func TestCompareTakesTurns(t *testing.T) {
	good, a := startFake(t)
	_, b := startFake(t)
	c := short("", Get)
	c.Objects, c.Cleanup = 20, true
	result, err := Compare(t.Context(), c, []Target{{Endpoint: a, AccessKey: "k", SecretKey: "s"}, {Endpoint: b}}, 3)
	if err != nil || result.Errors() != 0 {
		t.Fatalf("%d errors, %v", result.Errors(), err)
	}
	if len(result.Medians) != 2 || len(result.Reports[0]) != 3 || len(result.Reports[1]) != 3 {
		t.Fatalf("got %d medians of %d and %d reports", len(result.Medians), len(result.Reports[0]), len(result.Reports[1]))
	}
	for _, m := range result.Medians {
		if m.PerSecond < m.Range[0] || m.PerSecond > m.Range[1] || m.PerSecond <= 0 {
			t.Errorf("median out of its range: %+v", m)
		}
	}
	if len(good.objects) != 0 {
		t.Errorf("%d objects left behind", len(good.objects))
	}
	var table bytes.Buffer
	if err := result.WriteTable(&table); err != nil || !strings.Contains(table.String(), "medians of 3 rounds") {
		t.Errorf("got %v:\n%s", err, table.String())
	}
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		in   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{5, 1, 3}, 3}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := median(tc.in); got != tc.want {
			t.Errorf("%v: got %v, want %v", tc.in, got, tc.want)
		}
	}
}
