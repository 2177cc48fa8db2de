package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"kintsugi/bench/chaos/cluster"
	"kintsugi/bench/chaos/scenario"
)

// injector breaks a cluster.
type injector interface {
	// Candidates are the nodes that may be hit, in a fixed order.
	Candidates(ctx context.Context) []scenario.Candidate
	// Inject does it; an error that is cluster.ErrCannot says that it cannot be done here.
	Inject(ctx context.Context, fault string, nodes []string, how cluster.How) (cluster.Undo, error)
	// Mend undoes whatever is left.
	Mend() error
}

// own is a cluster that was started here.
type own struct{ *cluster.Cluster }

func (o own) Candidates(ctx context.Context) (all []scenario.Candidate) {
	leads := map[string]int{}
	if s, err := o.Status(ctx); err == nil { // else nobody is known to lead
		for _, n := range s.Nodes {
			leads[n.Name] = n.Leads
		}
	}
	for _, n := range o.Members() {
		all = append(all, scenario.Candidate{Name: n.Name, Role: n.Role, Leads: leads[n.Name]})
	}
	return all
}

// command breaks the cluster of somebody else by a command of theirs.
type command struct {
	template string // with {fault} and {node}
	shape    scenario.Cluster
}

// codeCannot is the exit code by which the command says that it cannot do this; its output is the reason.
const codeCannot = 77

// Candidates are named by number: n1 and so on keep shards, m1 metadata, g1 is a gateway. The first of the metadata counts as its leader, for
// nobody can be asked.
func (c *command) Candidates(context.Context) (all []scenario.Candidate) {
	for _, kind := range []struct {
		prefix, role string
		count        int
	}{{"g", scenario.RoleGateway, c.shape.Gateways}, {"m", scenario.RoleMeta, c.shape.Metas}, {"n", scenario.RoleStorage, c.shape.Nodes}} {
		for i := range kind.count {
			n := scenario.Candidate{Name: fmt.Sprint(kind.prefix, i+1), Role: kind.role}
			if kind.role == scenario.RoleMeta && i == 0 {
				n.Leads = 1
			}
			all = append(all, n)
		}
	}
	return all
}

// undoing are the faults by which others are undone.
var undoing = map[string]string{
	"power-cut": "start", "delay": "heal", "read-errors": "heal", "write-errors": "heal", "lost-syncs": "heal", "lost-writes": "heal", "misdirected": "heal",
	"kill": "start", "stop": "continue", "slow": "fast", "rollback": "restore", "fill": "free", "cut": "join", "mute": "unmute", "lossy": "lossless", "reset": "keep",
	"clone": "expel", "stranger": "expel", "narrow": "widen",
}

// nobody is the node that the command is told of where a fault is done to none.
const nobody = "-"

// Inject runs the command for each node.
func (c *command) Inject(ctx context.Context, fault string, nodes []string, _ cluster.How) (cluster.Undo, error) {
	if c.template == "" {
		return nil, fmt.Errorf("%w: no --fault-command was given", cluster.ErrCannot)
	}
	if len(nodes) == 0 {
		nodes = []string{nobody}
	}
	for _, n := range nodes {
		if err := c.run(ctx, fault, n); err != nil {
			return nil, err
		}
	}
	back, undone := undoing[fault]
	if !undone {
		return nil, nil
	}
	return func(ctx context.Context) (errs error) {
		for _, n := range nodes {
			errs = errors.Join(errs, c.run(ctx, back, n))
		}
		return errs
	}, nil
}

func (c *command) run(ctx context.Context, fault, node string) error {
	args := strings.Fields(c.template)
	for i := range args {
		args[i] = strings.NewReplacer("{fault}", fault, "{node}", node).Replace(args[i])
	}
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	text := string(bytes.TrimSpace(out))
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == codeCannot {
		return fmt.Errorf("%w: %s", cluster.ErrCannot, text)
	}
	if err != nil {
		return fmt.Errorf("chaos: %s: %w: %s", strings.Join(args, " "), err, text)
	}
	return nil
}

// Mend does nothing: every fault is undone by the one who made it.
func (c *command) Mend() error { return nil }

// without returns the candidates with those marked that a fault has hit that is not over.
func without(all []scenario.Candidate, hit map[string]bool) []scenario.Candidate {
	all = slices.Clone(all)
	for i := range all {
		all[i].Hit = hit[all[i].Name]
	}
	return all
}
