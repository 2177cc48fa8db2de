package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"kintsugi/cmd/kintsugi/admin"
	"kintsugi/meta/metarpc"
	"kintsugi/storagenode"
)

// makeAdmin has this process answer operators.
func (n *node) makeAdmin() error {
	cfg := admin.Config{
		Directory: n.directory, Cluster: n.view, Meta: n.meta,
		Redundancy: storagenode.NewCounter(n.view, n.meta).Count, Logger: n.log,
	}
	if n.host != nil {
		cfg.Coordinator, cfg.Groups = n.coordinator, n.groupFacts
	}
	s, err := admin.NewServer(cfg)
	if err != nil {
		return err
	}
	s.Handle(n.server)
	return nil
}

// groupFacts is what the local replica knows of its groups; nil while there is none.
func (n *node) groupFacts() []admin.GroupFacts {
	m := n.host.running.Load()
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), groupFactsTimeout)
	defer cancel()
	var facts []admin.GroupFacts
	for _, g := range m.Status(ctx) {
		facts = append(facts, admin.GroupFacts{Group: g.Group, Leader: g.Leader, Voters: g.Voters, Learners: g.Learners})
	}
	return facts
}

// groupFactsTimeout bounds a question to the replica of this process.
const groupFactsTimeout = 2 * time.Second

// localReplica is the replica of this process as metarpc wants it; nil without the role.
func (n *node) localReplica() func() metarpc.Local {
	if n.host == nil {
		return nil
	}
	return n.host.current
}

// status is what /status tells of this process; what the cluster is at, the admin command tells.
func (n *node) status(context.Context) (any, error) {
	self := n.directory.Self()
	status := struct {
		Ready       bool          `json:"ready"`
		Node        string        `json:"node"`
		Coordinator string        `json:"coordinator"`
		Epoch       uint64        `json:"epoch"`
		LeasedFor   int64         `json:"leasedForMilliseconds"`
		Refused     string        `json:"refused,omitempty"`
		Drives      []driveStatus `json:"drives"`
		Leads       int           `json:"metadataGroupsLed"`
		Repair      *repairStatus `json:"repair,omitempty"`
	}{
		Ready: n.isReady(), Node: self.Name, Coordinator: n.directory.Leader(), Epoch: n.epoch(),
		LeasedFor: max(0, n.leased.Load()-time.Now().UnixMilli()), Drives: n.shelf.statuses(),
	}
	status.Refused, _ = n.refused.Load().(string)
	if n.host != nil {
		status.Leads = n.host.leading()
	}
	if n.repair != nil {
		r := n.repair.status()
		status.Repair = &r
	}
	return status, nil
}

// banner tells that the process takes part in its cluster.
func (n *node) banner(out io.Writer, ports listeners) {
	self := n.directory.Self()
	fmt.Fprintf(out, "Kintsugi %s: node %s (%s) of cluster %s\n", version, self.Name, strings.Join(n.cfg.roles.Names(), ", "), n.founding.Load().Cluster)
	if m := n.view.Map(); m != nil {
		fmt.Fprintf(out, "  code %d+%d, %d drives\n", m.K, m.M, len(m.Drives))
	}
	s3 := "-"
	if ports.s3 != nil {
		s3 = "http://" + ports.s3.Addr().String()
		fmt.Fprintf(out, "  endpoint    %s   (region %s)\n  access key  %s   (from %s; kintsugi admin credentials shows the secret)\n",
			s3, n.cfg.region, n.credentials().accessKey, n.credentials().source)
	}
	fmt.Fprintf(out, "ready s3=%s admin=http://%s rpc=%s pid=%d\n", s3, ports.admin.Addr(), ports.rpc.Addr(), os.Getpid())
}
