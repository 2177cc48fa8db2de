package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Status is what the cluster says of itself, as far as a run wants to know: `kintsugi admin status --json`.
type Status struct {
	Moving int          `json:"partitionsMoving"`
	Nodes  []NodeStatus `json:"nodes"`
	Drives []struct {
		Node    string `json:"node"`
		State   string `json:"state"`
		Live    bool   `json:"live"`
		Shards  uint64 `json:"shards"`
		Used    uint64 `json:"usedBytes"`
		Corrupt uint64 `json:"corruptShards"`
	} `json:"drives"`
	Metadata struct {
		Lost  int `json:"groupsLost"`
		Risky int `json:"groupsAtRisk"`
	} `json:"metadata"`
	Chunks *Chunks `json:"chunks"`
	Repair struct {
		PendingShards     int     `json:"pendingShards"`
		PendingPartitions int     `json:"pendingPartitions"`
		BytesPerSecond    float64 `json:"bytesPerSecond"`
		ReadBytes         uint64  `json:"readBytes"`
		WrittenBytes      uint64  `json:"writtenBytes"`
	} `json:"repair"`
}

// NodeStatus is a process of the cluster.
type NodeStatus struct {
	Name  string `json:"name"`
	Addr  string `json:"addr"`
	Up    bool   `json:"up"`
	Leads int    `json:"leads"`
}

// Chunks counts chunks by how many shards they lack.
type Chunks struct {
	Total      uint64   `json:"total"`
	Bytes      uint64   `json:"bytes"`
	ByLost     []uint64 `json:"byLost"`
	AtRisk     uint64   `json:"atRisk"`
	Unreadable uint64   `json:"unreadable"`
	Abandoned  uint64   `json:"abandoned"` // too few shards, but no object needs them
}

// Whole tells whether every chunk has all its shards where they belong and nobody is missing.
func (s *Status) Whole(passOver uint64) bool { return s.Flaw(passOver) == "" }

// Flaw says why a cluster is not whole; "" if it is. Under load some chunks are just being written or removed and lack shards for that: so many
// are passed over.
func (s *Status) Flaw(passOver uint64) string {
	if away := s.away(); away != "" {
		return away
	}
	for _, d := range s.Drives {
		switch {
		case d.State == "new":
			return "a drive of " + d.Node + " is not taken in"
		case d.Corrupt > 0:
			return fmt.Sprintf("%d shards of %s are damaged", d.Corrupt, d.Node)
		}
	}
	switch {
	case s.Chunks == nil:
		return "chunks are not counted"
	case s.Metadata.Risky > 0:
		return fmt.Sprintf("%d groups of the metadata lack a replica", s.Metadata.Risky)
	case s.Moving > 0:
		return fmt.Sprintf("%d partitions move", s.Moving)
	case s.Repair.PendingShards > 0 || s.Repair.PendingPartitions > 0:
		return fmt.Sprintf("%d shards and %d partitions wait for repair", s.Repair.PendingShards, s.Repair.PendingPartitions)
	}
	lacking := s.Chunks.Unreadable
	for _, n := range s.Chunks.ByLost[min(1, len(s.Chunks.ByLost)):] {
		lacking += n
	}
	if lacking > passOver {
		return fmt.Sprintf("%d chunks lack shards, %d of them cannot be read", lacking, s.Chunks.Unreadable)
	}
	return ""
}

// Rebuilt tells whether every chunk has all its shards although nodes are away: their drives have been given up, and what they had was
// built anew on others.
func (s *Status) Rebuilt(passOver uint64) bool {
	here := *s
	here.Nodes = slices.DeleteFunc(slices.Clone(s.Nodes), func(n NodeStatus) bool { return !n.Up })
	return len(here.Nodes) < len(s.Nodes) && here.Whole(passOver)
}

// Complete tells whether all nodes are there with their drives, and all metadata has leaders.
func (s *Status) Complete() bool { return s.away() == "" }

// away says who is missing.
func (s *Status) away() string {
	for _, n := range s.Nodes {
		if !n.Up {
			return n.Name + " is down"
		}
	}
	for _, d := range s.Drives {
		if d.State == "up" && !d.Live {
			return "a drive of " + d.Node + " is away"
		}
	}
	switch {
	case len(s.Nodes) == 0:
		return "nobody is there"
	case s.Metadata.Lost > 0:
		return fmt.Sprintf("%d groups of the metadata have no leader", s.Metadata.Lost)
	}
	return ""
}

// Up is how many nodes the cluster holds for up.
func (s *Status) Up() (n int) {
	for _, node := range s.Nodes {
		if node.Up {
			n++
		}
	}
	return n
}

// Audit is what is on the drives, whatever the cluster says: `kintsugi audit --json`.
type Audit struct {
	Chunks     uint64            `json:"chunks"`
	Bytes      uint64            `json:"bytes"`
	Lost       map[string]uint64 `json:"lost"`
	Whole      uint64            `json:"whole"`
	AtRisk     uint64            `json:"atRisk"`
	Unreadable uint64            `json:"unreadable"`
	Damaged    uint64            `json:"damaged"`
	Disputed   uint64            `json:"disputed"`
	Copies     uint64            `json:"copies"`
}

// commandTime bounds what a question may take.
const commandTime = 20 * time.Second

// Status asks the cluster. Processes that are no members, or no more, are left out: it remembers them for a while.
func (k *Cluster) Status(ctx context.Context) (Status, error) {
	var s Status
	err := k.ask(ctx, &s, "admin", "status", "--json", "--dir", k.dir())
	members := map[string]bool{}
	for _, n := range k.Members() {
		members[n.Name] = true
	}
	s.Nodes = slices.DeleteFunc(s.Nodes, func(n NodeStatus) bool { return !members[n.Name] })
	return s, err
}

// Audit reads the drives.
func (k *Cluster) Audit(ctx context.Context) (Audit, error) {
	args := []string{"audit", "--json"}
	for _, n := range k.Members() {
		if n.Role == "storagenode" || n.Role == "server" {
			args = append(args, n.Dirs...)
		}
	}
	var a Audit
	return a, k.ask(ctx, &a, args...)
}

// Scrub has every drive read all its shards now, and returns at once.
func (k *Cluster) Scrub(ctx context.Context) error {
	var order struct{}
	return k.ask(ctx, &order, "admin", "scrub", "--no-wait", "--json", "--dir", k.dir())
}

// Token returns what Metrics wants.
func (k *Cluster) Token(ctx context.Context) (string, error) {
	out, err := k.command(ctx, "admin", "token", "--dir", k.dir())
	return strings.TrimSpace(string(out)), err
}

// ask runs a command that prints JSON. It may end with a code other than 0, which says how the cluster is.
func (k *Cluster) ask(ctx context.Context, into any, args ...string) error {
	out, failed := k.command(ctx, args...)
	if err := json.Unmarshal(out, into); err != nil {
		return errors.Join(fmt.Errorf("cluster: %s: %w", strings.Join(args[:2], " "), err), failed)
	}
	return nil
}

func (k *Cluster) command(ctx context.Context, args ...string) ([]byte, error) {
	return k.patientCommand(ctx, commandTime, args...)
}

// patientCommand runs a command of the program that may take so long.
func (k *Cluster) patientCommand(ctx context.Context, limit time.Duration, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, k.config.Program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("cluster: %s: %w: %s", strings.Join(args[:2], " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, err
}

// Metrics are the sums of a process's metrics over their labels, by name.
type Metrics map[string]float64

// metricsTime bounds a question to one process.
const metricsTime = 3 * time.Second

// maxMetricsBytes bounds the answer.
const maxMetricsBytes = 8 << 20

// Metrics asks one process.
func (k *Cluster) Metrics(ctx context.Context, token string, n *Node) (Metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxMetricsBytes))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("cluster: %s: %s", n.Name, resp.Status)
	}
	return parseMetrics(string(text)), err
}

// parseMetrics sums the samples of each name.
func parseMetrics(text string) Metrics {
	sums := Metrics{}
	for line := range strings.Lines(text) {
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		name, _, _ := strings.Cut(line[:i], "{")
		if v, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64); err == nil {
			sums[name] += v
		}
	}
	return sums
}
