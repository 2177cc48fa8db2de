package scenario

import (
	"embed"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"kintsugi/bench/chaos/history"
)

//go:embed files/*.yaml
var files embed.FS

// DefaultName is the scenario that runs if none is named.
const DefaultName = "kill-m"

// Default is what a scenario is where its file says nothing.
func Default() Scenario {
	return Scenario{
		Cluster: Cluster{Nodes: 9, Metas: 3, Gateways: 2, Code: Code{4, 2}, OutAfter: 5 * time.Second, KeepDeleted: 5 * time.Second},
		Load: Load{
			Clients: 12, Rate: 120, Keys: 300, Timeout: 15 * time.Second,
			Mix: map[history.Kind]float64{
				history.Get: 38, history.Range: 12, history.Head: 6, history.Put: 22, history.PutIfAbsent: 4, history.PutIfMatch: 6,
				history.Multipart: 0.5, history.Delete: 8, history.List: 3,
			},
			Sizes: []SizeShare{{1, 16 << 10, 60}, {16 << 10, 1 << 20, 36}, {1 << 20, 8 << 20, 3.7}, {8 << 20, 64 << 20, 0.3}},
		},
		Rest: 5 * time.Second,
	}
}

// All returns the scenarios that come with the program, the default first.
func All() ([]Scenario, error) {
	entries, err := files.ReadDir("files")
	if err != nil {
		return nil, err
	}
	var all []Scenario
	for _, e := range entries {
		s, err := embedded(strings.TrimSuffix(e.Name(), ".yaml"))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b Scenario) int {
		if a.Name == DefaultName {
			return -1
		} else if b.Name == DefaultName {
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all, nil
}

// Find returns the scenario with this name, or the one in the file of this name if it ends with .yaml.
func Find(name string) (Scenario, error) {
	if !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") {
		return embedded(name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return Scenario{}, fmt.Errorf("scenario: %w", err)
	}
	s, err := Parse(data)
	if err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func embedded(name string) (Scenario, error) {
	data, err := files.ReadFile(path.Join("files", name+".yaml"))
	if err != nil {
		return Scenario{}, fmt.Errorf("there is no scenario %q; bench chaos list shows them; a file's name ends with .yaml", name)
	}
	s, err := Parse(data)
	if err == nil && s.Name != name {
		err = fmt.Errorf("scenario: %s.yaml says that its name is %s", name, s.Name)
	}
	return s, err
}
