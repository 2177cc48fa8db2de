package scenario

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"kintsugi/bench/chaos/history"
)

// MaxFileBytes bounds a scenario's file.
const MaxFileBytes = 64 << 10

// Parse reads a scenario. What a file does not say is as in the one named defaults. Errors name the line.
func Parse(data []byte) (Scenario, error) {
	s := Default()
	if len(data) > MaxFileBytes {
		return s, fmt.Errorf("scenario: longer than %d bytes", MaxFileBytes)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return s, fmt.Errorf("scenario: %w", err)
	}
	if len(root.Content) != 1 {
		return s, errors.New("scenario: the file is empty")
	}
	err := fields(root.Content[0], map[string]setter{
		"name":    text(&s.Name),
		"proves":  text(&s.Proves),
		"cluster": func(n *yaml.Node) error { return parseCluster(n, &s.Cluster) },
		"load":    func(n *yaml.Node) error { return parseLoad(n, &s.Load) },
		"steps":   func(n *yaml.Node) (err error) { s.Steps, err = parseSteps(n); return err },
		"rest":    duration(&s.Rest),
	})
	if err == nil {
		err = s.Validate()
	}
	if err != nil {
		return s, fmt.Errorf("scenario: %w", err)
	}
	return s, nil
}

// Validate tells what cannot be about a scenario as a whole.
func (s *Scenario) Validate() error {
	c := s.Cluster
	switch {
	case s.Name == "" || s.Proves == "":
		return errors.New("name and proves are needed: a reader wants to know what a run shows")
	case c.Nodes < 1 || c.Nodes > 200 || c.Metas < 1 || c.Metas > 9 || c.Gateways < 1 || c.Gateways > 20:
		return fmt.Errorf("a cluster of %d nodes, %d metas and %d gateways", c.Nodes, c.Metas, c.Gateways)
	case c.Code.K < 1 || c.Code.M < 0 || c.Code.K+c.Code.M > c.Nodes:
		return fmt.Errorf("code %d+%d on %d nodes", c.Code.K, c.Code.M, c.Nodes)
	}
	return nil
}

func parseCluster(n *yaml.Node, c *Cluster) error {
	return fields(n, map[string]setter{
		"nodes":        number(&c.Nodes),
		"metas":        number(&c.Metas),
		"gateways":     number(&c.Gateways),
		"ec":           func(n *yaml.Node) (err error) { c.Code, err = ParseCode(n.Value); return err },
		"out-after":    duration(&c.OutAfter),
		"keep-deleted": duration(&c.KeepDeleted),
		"disk":         func(n *yaml.Node) (err error) { c.Disk, err = parseSize(n.Value); return err },
	})
}

// ParseCode reads a code such as 4+2.
func ParseCode(text string) (c Code, err error) {
	k, m, found := strings.Cut(text, "+")
	if c.K, err = strconv.Atoi(k); err == nil {
		c.M, err = strconv.Atoi(m)
	}
	if err != nil || !found || c.K < 1 || c.M < 0 {
		return c, fmt.Errorf("code %q: want data+parity shards, such as 4+2", text)
	}
	return c, nil
}

func parseLoad(n *yaml.Node, l *Load) error {
	return fields(n, map[string]setter{
		"clients": number(&l.Clients),
		"keys":    number(&l.Keys),
		"timeout": duration(&l.Timeout),
		"rate":    func(n *yaml.Node) (err error) { l.Rate, err = parseRate(n.Value); return err },
		"mix": func(n *yaml.Node) error {
			l.Mix = map[history.Kind]float64{}
			return pairs(n, func(key, value *yaml.Node) error {
				kind, ok := history.ParseKind(key.Value)
				share, err := strconv.ParseFloat(value.Value, 64)
				if !ok || err != nil || share < 0 {
					return fmt.Errorf("%s: %s: want the share of one of %v", key.Value, value.Value, history.Kinds())
				}
				l.Mix[kind] = share
				return nil
			})
		},
		"sizes": func(n *yaml.Node) error {
			l.Sizes = nil
			return pairs(n, func(key, value *yaml.Node) error {
				size, err := parseSizeShare(key.Value, value.Value)
				l.Sizes = append(l.Sizes, size)
				return err
			})
		},
	})
}

// parseSizeShare reads "16KiB-1MiB" and how often.
func parseSizeShare(sizes, share string) (s SizeShare, err error) {
	low, high, isRange := strings.Cut(sizes, "-")
	if !isRange {
		high = low
	}
	if s.Min, err = parseSize(low); err == nil {
		if s.Max, err = parseSize(high); err == nil {
			s.Share, err = strconv.ParseFloat(share, 64)
		}
	}
	if err == nil && (s.Min < 1 || s.Max < s.Min || s.Share < 0) {
		err = fmt.Errorf("%s: %s: want a range of sizes from 1B, and its share", sizes, share)
	}
	return s, err
}

func parseSteps(n *yaml.Node) (steps []Step, err error) {
	if n.Kind != yaml.SequenceNode {
		return nil, at(n, errors.New("steps: want a list"))
	}
	for _, item := range n.Content {
		s := Step{Line: item.Line, Times: 1, Where: "shards", Allowed: "none", Share: 1}
		err := fields(item, map[string]setter{
			"at":     func(n *yaml.Node) (err error) { s.At, err = parseMoment(n.Value); return err },
			"fault":  func(n *yaml.Node) error { s.Fault = Fault(n.Value); return nil },
			"nodes":  func(n *yaml.Node) (err error) { s.Nodes, err = ParseSelector(n.Value); return err },
			"for":    duration(&s.For),
			"every":  duration(&s.Every),
			"times":  number(&s.Times),
			"count":  number(&s.Count),
			"by":     duration(&s.By),
			"share":  share(&s.Share),
			"where":  choice(&s.Where, "shards", "metadata"),
			"errors": choice(&s.Allowed, "none", "honest", "any"),
		})
		if err == nil {
			err = s.validate()
		}
		if err != nil {
			return nil, at(item, err)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func (s *Step) validate() error {
	needs, known := faults[s.Fault]
	switch {
	case !known:
		return fmt.Errorf("there is no fault %q", s.Fault)
	case needs.nobody && s.Nodes.text != "":
		return fmt.Errorf("%s is done to no node: leave nodes out", s.Fault)
	case s.Nodes.text == "" && !needs.nobody:
		return errors.New("nodes: say which, such as: a storage node")
	case needs.lasts && s.For <= 0:
		return fmt.Errorf("%s needs for: how long", s.Fault)
	case !needs.lasts && s.For != 0:
		return fmt.Errorf("%s takes no time: leave for out", s.Fault)
	case needs.counts && s.Count < 1:
		return fmt.Errorf("%s needs count: how many", s.Fault)
	case (s.Fault == Delay) != (s.By > 0):
		return errors.New("by says how much slower delay makes a drive: it needs one, nothing else does")
	case s.Share != 1 && s.Fault != ReadErrors && s.Fault != WriteErrors:
		return fmt.Errorf("%s takes no share", s.Fault)
	case s.Times < 1 || s.Times > 1 && s.Every <= s.For:
		return errors.New("times needs every, which must be longer than for")
	}
	return nil
}

// parseMoment reads "15s", "healed" and "healed+5s", and the same with the other words of Since.
func parseMoment(text string) (m Moment, err error) {
	rest := strings.ReplaceAll(text, " ", "")
	const want = "%q: want a time such as 15s, healed+5s, rebuilt+5s or then+5s"
	for _, since := range []Since{Then, Rebuilt, Healed} {
		after, found := strings.CutPrefix(rest, string(since))
		if !found {
			continue
		}
		m.Since = since
		if after == "" {
			return m, nil
		}
		if rest, found = strings.CutPrefix(after, "+"); !found {
			return m, fmt.Errorf(want, text)
		}
	}
	m.After, err = time.ParseDuration(rest)
	if err != nil || m.After < 0 {
		return m, fmt.Errorf(want, text)
	}
	return m, nil
}
