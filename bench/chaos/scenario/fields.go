package scenario

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// setter takes the value of a field.
type setter func(*yaml.Node) error

// fields hands the fields of a mapping to their setters. A field that nobody knows is an error: a typing
// error must not make a run prove less than its author thinks.
func fields(n *yaml.Node, known map[string]setter) error {
	seen := map[string]bool{}
	return pairs(n, func(key, value *yaml.Node) error {
		set, ok := known[key.Value]
		if !ok {
			return fmt.Errorf("%q is not known here; there are: %s", key.Value, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if seen[key.Value] {
			return fmt.Errorf("%s comes twice", key.Value)
		}
		seen[key.Value] = true
		if err := set(value); err != nil {
			return fmt.Errorf("%s: %w", key.Value, err)
		}
		return nil
	})
}

// pairs hands over each key with its value, in order.
func pairs(n *yaml.Node, each func(key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return at(n, fmt.Errorf("want fields such as name: value"))
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if err := each(n.Content[i], n.Content[i+1]); err != nil {
			return at(n.Content[i], err)
		}
	}
	return nil
}

// atLine is an error that names its line already.
type atLine struct {
	line int
	err  error
}

func (e *atLine) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *atLine) Unwrap() error { return e.err }

// at names the line of n, unless a line inside it is named.
func at(n *yaml.Node, err error) error {
	for inner := err; inner != nil; {
		if a, ok := inner.(*atLine); ok {
			return a
		}
		unwrapper, ok := inner.(interface{ Unwrap() error })
		if !ok {
			break
		}
		inner = unwrapper.Unwrap()
	}
	return &atLine{n.Line, err}
}

func text(into *string) setter {
	return func(n *yaml.Node) error {
		*into = strings.TrimSpace(n.Value)
		return nil
	}
}

func number(into *int) setter {
	return func(n *yaml.Node) (err error) {
		*into, err = strconv.Atoi(n.Value)
		if err != nil {
			return fmt.Errorf("%q is not a number", n.Value)
		}
		return nil
	}
}

func duration(into *time.Duration) setter {
	return func(n *yaml.Node) (err error) {
		*into, err = time.ParseDuration(n.Value)
		if err != nil || *into < 0 {
			return fmt.Errorf("%q is not a time such as 15s", n.Value)
		}
		return nil
	}
}

// share reads a part of all such as 5%.
func share(into *float64) setter {
	return func(n *yaml.Node) error {
		percent, err := strconv.ParseFloat(strings.TrimSuffix(n.Value, "%"), 64)
		if err != nil || !(percent > 0 && percent <= 100) {
			return fmt.Errorf("%q is not a share such as 5%%", n.Value)
		}
		*into = percent / 100
		return nil
	}
}

func choice(into *string, options ...string) setter {
	return func(n *yaml.Node) error {
		if !slices.Contains(options, n.Value) {
			return fmt.Errorf("%q: want one of %s", n.Value, strings.Join(options, ", "))
		}
		*into = n.Value
		return nil
	}
}

// parseRate reads "150/s" or "unlimited".
func parseRate(text string) (float64, error) {
	if text == "unlimited" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "/s"), 64)
	if err != nil || n <= 0 || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%q: want operations per second such as 150/s, or unlimited", text)
	}
	return n, nil
}

// parseSize reads a size such as 16KiB, in bytes.
func parseSize(text string) (int64, error) {
	number, unit := text, int64(1)
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, found := strings.CutSuffix(text, suffix); found {
			number, unit = rest, n
		}
	}
	if unit == 1 {
		number = strings.TrimSuffix(number, "B")
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q: want a size such as 1B, 16KiB or 8MiB", text)
	}
	return n * unit, nil
}
