package admin

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"kintsugi/meta/membership"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/audit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/name.txt.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// clusters are states of a cluster, good and bad.
var clusters = []struct {
	name   string
	spoil  func(*testing.T, *Facts)
	health Health
}{
	{"healthy", func(*testing.T, *Facts) {}, Healthy},
	{"node-down", func(_ *testing.T, f *Facts) {
		f.kill("n3")
		f.Redundancy = &storagenode.Redundancy{Chunks: 500, Bytes: 4 << 30, Lost: []uint64{167, 333}}
	}, Degraded},
	{"two-nodes-down", func(_ *testing.T, f *Facts) {
		f.kill("n3")
		f.kill("n4")
		f.Redundancy = &storagenode.Redundancy{Chunks: 500, Bytes: 4 << 30, Lost: []uint64{0, 300, 200}, AtRisk: 200}
		for i := range f.Members {
			f.Members[i].Beat.Repair = membership.Repair{PendingShards: 20, BytesPerSecond: 3 << 20, ETASeconds: 61}
		}
	}, AtRisk},
	{"three-nodes-down", func(_ *testing.T, f *Facts) {
		for _, n := range []string{"n3", "n4", "n5"} {
			f.kill(n)
		}
		f.Redundancy = &storagenode.Redundancy{Chunks: 500, Bytes: 4 << 30, Lost: []uint64{0, 300, 150}, AtRisk: 150, Unreadable: 50}
	}, Unavailable},
	{"voter-down", func(_ *testing.T, f *Facts) { f.kill("m2"); f.reelect() }, AtRisk},
	{"no-quorum", func(_ *testing.T, f *Facts) { f.kill("m2"); f.kill("m3"); f.Coordinated = false; f.Redundancy = nil }, Unavailable},
	{"draining", func(t *testing.T, f *Facts) { f.change(t, Change{Kind: Drain, Target: "n3"}) }, Healthy},
	{"removed", func(t *testing.T, f *Facts) {
		drained(t, f)
		f.change(t, Change{Kind: Remove, Target: "n3"})
		f.kill("n3")
	}, Healthy},
	{"disk-gone-and-full", func(_ *testing.T, f *Facts) {
		f.member("n3").Beat.Drives = nil
		f.member("n4").Beat.Drives[0].Free = 1 << 30
		f.member("n5").Beat.Drives[0].Corrupt = 2
	}, Degraded},
	{"unseen", func(t *testing.T, f *Facts) {
		for i, m := range f.Members {
			if m.Beat.Node.Name == "n3" {
				f.Members[i] = membership.NodeStatus{Beat: membership.Beat{Node: membership.Node{Name: m.Beat.Node.Name}}, Since: now}
				return
			}
		}
	}, Degraded},
	{"new-drive", func(_ *testing.T, f *Facts) {
		d := &f.member("n1").Beat
		d.Drives = append(d.Drives, membership.DriveReport{ID: testDrive(99), Dir: "/disk2", Fresh: true})
	}, Healthy},
	{"unborn", func(_ *testing.T, f *Facts) { f.Map, f.Redundancy = nil, nil }, Unavailable},
}

// reelect gives every group a leader that is up.
func (f *Facts) reelect() {
	for i := range f.Groups {
		if m := f.memberOf(f.Groups[i].Leader); m == nil || !m.Up {
			f.Groups[i].Leader = 1
		}
	}
}

func TestStatus(t *testing.T) {
	for _, c := range clusters {
		t.Run(c.name, func(t *testing.T) {
			f := testFacts(t, 9)
			c.spoil(t, f)
			s := Assess(*f)
			if s.Health != c.health {
				t.Errorf("health is %s, want %s", s.Health, c.health)
			}
			for _, p := range s.Problems {
				if p.Next == "" {
					t.Errorf("no next step: %s", p.What)
				}
			}
			var out bytes.Buffer
			for _, write := range []func() error{
				func() error { return WriteStatus(&out, s) },
				func() error { out.WriteString("\n"); return WriteNodes(&out, s) },
				func() error { out.WriteString("\n"); return WriteDrives(&out, s) },
			} {
				if err := write(); err != nil {
					t.Fatal(err)
				}
			}
			golden(t, "status-"+c.name, out.Bytes())
		})
	}
}

// TestFoundElsewhere expects a drive that moved to be counted where it is, whichever node is asked first.
func TestFoundElsewhere(t *testing.T) {
	f := testFacts(t, 9)
	f.member("n8").Beat.Drives = append(f.member("n8").Beat.Drives, f.member("n2").Beat.Drives...)
	f.kill("n2")
	for _, d := range Assess(*f).Drives {
		if d.ID == testDrive(2).String() && !d.Live {
			t.Error("the drive is not live")
		}
	}
}

// TestNoParity expects a code without parity not to be called at risk for what was chosen.
func TestNoParity(t *testing.T) {
	m, err := placement.Birth(placement.ClusterID{1}, 16, 1, 0, []placement.Drive{{ID: testDrive(1), Node: "n1", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	f := testFacts(t, 6)
	f.Map, f.Redundancy = m, &storagenode.Redundancy{Chunks: 7, Lost: []uint64{7}, AtRisk: 7}
	if s := Assess(*f); s.Chunks.AtRisk != 0 || s.Health != Healthy {
		t.Errorf("%d at risk, health %s", s.Chunks.AtRisk, s.Health)
	}
}

func TestText(t *testing.T) {
	for bytes, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 10 << 20: "10.0 MiB", 100 << 30: "100 GiB", 1<<40 - 1: "1.0 TiB", 1<<64 - 1: "16.0 EiB",
	} {
		if got := Size(bytes); got != want {
			t.Errorf("Size(%d) = %q, want %q", bytes, got, want)
		}
	}
	for s, want := range map[float64]string{-1: "0 s", 0.4: "0 s", 40: "40 s", 130: "2 min", 7300: "2 h 1 min", 200000: "2 d 7 h"} {
		if got := age(s); got != want {
			t.Errorf("age(%v) = %q, want %q", s, got, want)
		}
	}
	names := []string{"n10", "m1", "n2", "10.0.0.9:9002", "n1"}
	sortNames(names)
	if got, want := names, []string{"10.0.0.9:9002", "m1", "n1", "n2", "n10"}; !slices.Equal(got, want) {
		t.Errorf("names are in the order %v, want %v", got, want)
	}
}

func TestAudit(t *testing.T) {
	for _, c := range []struct {
		name string
		sum  audit.Summary
		want Health
	}{
		{"empty", audit.Summary{}, Healthy},
		{"whole", audit.Summary{Chunks: 3, Whole: 3}, Healthy},
		{"no parity", audit.Summary{Chunks: 3, Whole: 3, AtRisk: 3}, Healthy},
		{"lacking", audit.Summary{Chunks: 3, Whole: 2, Lost: map[int]uint64{1: 1}}, Degraded},
		{"damaged", audit.Summary{Chunks: 3, Whole: 3, Damaged: 1}, Degraded},
		{"at risk", audit.Summary{Chunks: 3, Whole: 2, AtRisk: 1}, AtRisk},
		{"unreadable", audit.Summary{Chunks: 3, Whole: 2, Unreadable: 1}, Unavailable},
		{"disputed", audit.Summary{Chunks: 3, Whole: 3, Disputed: 1}, Unavailable},
	} {
		if got := AuditHealth(c.sum); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	var out bytes.Buffer
	err := WriteAudit(&out, audit.Summary{
		Drives: []audit.DriveSummary{{Dir: "/disk1", Drive: testDrive(1).String(), Segments: 2, Shards: 9, Bytes: 9 << 20, Damaged: 1}},
		Chunks: 10, Bytes: 80 << 20, Whole: 7, Lost: map[int]uint64{0: 7, 1: 2, 2: 1}, AtRisk: 1, Damaged: 1, Copies: 3, Deleted: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "audit", out.Bytes())
}
