//go:build chaosbugs

package chaos

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kintsugi/bench/chaos/report"
	"kintsugi/bench/chaos/scenario"
	"kintsugi/internal/plant"
)

// Every bug that can be planted must be found in a cluster of real processes, by the oracle that is made for it. That nothing is found where
// none is planted, make chaos-short shows.
func TestPlantedBugsAreCaught(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kintsugi")
	build := exec.Command("go", "build", "-tags", "chaosbugs", "-o", program, "kintsugi/cmd/kintsugi")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const (
		large = `{rate: 80/s, keys: 60, sizes: {1B-16KiB: 2, 32KiB-1MiB: 8}}`
		hot   = `{rate: unlimited, keys: 6, sizes: {1B-4KiB: 1}, mix: {get: 60, put: 40}}` // read at once after it was written

		calm    = "" // load alone shows it
		asleep  = `{at: 1s, fault: stop, nodes: m storage nodes, for: 5s}`
		tooMany = `{at: 1s, fault: kill, nodes: m+1 storage nodes, for: 4s, errors: honest}`
	)
	for _, c := range []struct {
		bug        plant.Bug
		load, step string
		wants      []string // one of these oracles must object
	}{
		{plant.AckBeforeSync, large, calm, []string{"O5"}}, // what was acknowledged cannot be read yet
		{plant.AckTooFew, large, calm, []string{"O5"}},     // nor ever
		{plant.StaleRead, hot, calm, []string{"O2"}},
		{plant.SwappedShards, large, calm, []string{"O1", "O4"}}, // O4: the end of the body is kept back if its sum is wrong
		{plant.NotFoundLie, large, tooMany, []string{"O4"}},
		{plant.NoFencing, large, asleep, []string{"O9"}},
	} {
		t.Run("bug "+string(c.bug), func(t *testing.T) {
			t.Setenv(plant.Env, string(c.bug))
			d, err := Run(t.Context(), plantedConfig(t, program, c.load, c.step))
			if err != nil {
				t.Fatal(err)
			}
			got := failed(d)
			caught := slices.ContainsFunc(got, func(id string) bool { return slices.Contains(c.wants, id) })
			if !caught || d.Result != report.Failed {
				t.Errorf("objections %v, want one of %v; the run %s", got, c.wants, d.Result)
				_ = d.WriteTable(os.Stderr)
			}
		})
	}
}

// plantedConfig is a short run with at most one fault. What is wrong on purpose is not given much time to mend.
func plantedConfig(t *testing.T, program, load, step string) Config {
	t.Helper()
	text := "name: planted\nproves: that a bug is found\nrest: 3s\nload: " + load + "\n"
	if step != "" {
		text += "steps:\n  - " + step + "\n"
	}
	s, err := scenario.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Config{Scenario: s, Seed: 3, Program: program, Dir: t.TempDir(), Stdout: t.Output(), HealLimit: 2 * time.Second}
}
