package chaos

import (
	"testing"
	"time"

	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/report"
	"kintsugi/bench/chaos/scenario"
)

func TestMissed(t *testing.T) {
	c := scenario.Cluster{Nodes: 12, Code: scenario.Code{K: 4, M: 2}, OutAfter: 5 * time.Second}
	ops := []history.Op{
		{Kind: history.Put, SizeBytes: 4 << 20, Begin: 11 * time.Second, End: 12 * time.Second},
		{Kind: history.Put, SizeBytes: 4 << 20, Begin: 30 * time.Second, End: 31 * time.Second},
		{Kind: history.Put, SizeBytes: 100, Begin: 11 * time.Second, End: 12 * time.Second},
		{Kind: history.Get, SizeBytes: 4 << 20, Begin: 11 * time.Second, End: 12 * time.Second},
	}
	made := func(name scenario.Fault, lasts time.Duration, nodes ...string) fault {
		return fault{Fault: report.Fault{Fault: string(name), Nodes: nodes, Status: report.Injected}, begin: 10 * time.Second, end: 10*time.Second + lasts}
	}
	for _, tt := range []struct {
		name   string
		faults []fault
		bytes  float64
		known  bool
	}{
		{"no fault", nil, 0, false},
		{"one away", []fault{made(scenario.Kill, 4*time.Second, "n1")}, 1 << 19, true},
		{"two away, and one again", []fault{made(scenario.Kill, 4*time.Second, "n1", "n2"), made(scenario.Stop, 2*time.Second, "n1")}, 3 << 19, true},
		{"given up", []fault{made(scenario.Kill, 6*time.Second, "n1")}, 0, false},
		{"more than m", []fault{made(scenario.Kill, time.Second, "n1", "n2", "n3")}, 0, false},
		{"another fault", []fault{made(scenario.Kill, time.Second, "n1"), made(scenario.Wipe, 0, "n2")}, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if bytes, known := missed(tt.faults, ops, c); bytes != tt.bytes || known != tt.known {
				t.Errorf("got %v, %v", bytes, known)
			}
		})
	}
}
