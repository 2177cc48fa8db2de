package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Roles of the processes, as their subcommands are called.
const (
	roleMeta    = "meta"
	roleStorage = "storagenode"
	roleGateway = "gateway"
	roleServer  = "server" // all of them
)

// devShape says how many processes there are of each kind, and drives of each new storage node.
type devShape struct{ storage, metas, gateways, servers, drives int }

// asItIs stands for a number that was not asked for.
const asItIs = -1

// newShape is what a new cluster has.
var newShape = devShape{storage: 9, metas: 3, gateways: 2}

// settled replaces what was not asked for: by what there is, or else by what a new cluster has.
func (s devShape) settled(l devLayout) devShape {
	usual := newShape
	if s.servers > 0 {
		usual = devShape{}
	}
	if len(l.Nodes) > 0 {
		usual = devShape{l.count(roleStorage), l.count(roleMeta), l.count(roleGateway), l.count(roleServer), 0}
	}
	for n, usual := range map[*int]int{&s.storage: usual.storage, &s.metas: usual.metas, &s.gateways: usual.gateways, &s.servers: usual.servers} {
		if *n == asItIs {
			*n = usual
		}
	}
	return s
}

// devLayout is DIR/dev.json: the processes of the cluster and their ports. It is written before the first of them
// starts and only ever grows.
type devLayout struct {
	Format int       `json:"format"` // devFormat
	Code   string    `json:"ec,omitempty"`
	Nodes  []devNode `json:"processes"`
}

const devFormat = 1

// devNode is one process.
type devNode struct {
	Role   string `json:"role"`
	Name   string `json:"node"`
	RPC    int    `json:"rpcPort"`
	Admin  int    `json:"adminPort"`
	S3     int    `json:"s3Port,omitempty"`
	Drives int    `json:"drives,omitempty"`
}

// errFewer refuses to leave out processes that have data.
var errFewer = errors.New("fewer than there are")

// errNoCluster refuses what cannot serve.
var errNoCluster = errors.New("a cluster needs storage nodes, metadata nodes and gateways, or servers")

// grow adds what is missing to want. Ports come from next.
func (l devLayout) grow(want devShape, next func() (int, error)) (devLayout, error) {
	want = want.settled(l)
	if want.servers == 0 && (want.storage == 0 || want.metas == 0 || want.gateways == 0) {
		return l, errNoCluster
	}
	l.Format, l.Nodes = devFormat, slices.Clone(l.Nodes)
	for _, add := range []struct {
		role, prefix string
		want, drives int
	}{
		// In the order of the ports: those that people type come first.
		{roleGateway, "g", want.gateways, 0},
		{roleServer, "s", want.servers, want.drives},
		{roleMeta, "m", want.metas, 1},
		{roleStorage, "n", want.storage, want.drives},
	} {
		have := l.count(add.role)
		if add.want < have {
			return l, fmt.Errorf("%w: this cluster has %d of role %s, %d are asked for", errFewer, have, add.role, add.want)
		}
		for i := have; i < add.want; i++ {
			l.Nodes = append(l.Nodes, devNode{Role: add.role, Name: fmt.Sprint(add.prefix, i+1), Drives: add.drives})
		}
	}
	return l, l.assignPorts(next)
}

func (l devLayout) count(role string) (n int) {
	for _, node := range l.Nodes {
		if node.Role == role {
			n++
		}
	}
	return n
}

// assignPorts gives ports to processes that have none; S3 first.
func (l devLayout) assignPorts(next func() (int, error)) error {
	var missing []*int
	for i := range l.Nodes {
		if n := &l.Nodes[i]; n.servesS3() && n.S3 == 0 {
			missing = append(missing, &n.S3)
		}
	}
	for i := range l.Nodes {
		if n := &l.Nodes[i]; n.RPC == 0 {
			missing = append(missing, &n.RPC, &n.Admin)
		}
	}
	for _, port := range missing {
		var err error
		if *port, err = next(); err != nil {
			return err
		}
	}
	return nil
}

func (l devLayout) ports() map[int]bool {
	used := map[int]bool{}
	for _, n := range l.Nodes {
		used[n.RPC], used[n.Admin], used[n.S3] = true, true, true
	}
	return used
}

// maxSeeds is how many servers others are told of: as many as there are replicas of the metadata at most.
const maxSeeds = 5

// seeds are the addresses that every process is given to find the cluster.
func (l devLayout) seeds() string {
	var addrs []string
	for _, n := range l.Nodes {
		if n.Role == roleMeta || n.Role == roleServer && len(addrs) < maxSeeds {
			addrs = append(addrs, loopback(n.RPC))
		}
	}
	return strings.Join(addrs, ",")
}

func (n devNode) servesS3() bool { return n.Role == roleGateway || n.Role == roleServer }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// dirs are the drives of a process.
func (n devNode) dirs(root string) []string {
	dirs := make([]string, n.Drives)
	for i := range dirs {
		dirs[i] = filepath.Join(root, n.Name, fmt.Sprint("d", i+1))
	}
	return dirs
}

// command is how a process of the cluster is started.
func (l devLayout) command(cfg devConfig, n devNode) []string {
	args := []string{
		cfg.program, n.Role, "--node", n.Name, "--listen", "127.0.0.1",
		"--rpc-addr", loopback(n.RPC), "--admin-addr", loopback(n.Admin),
		"--join", l.seeds(), "--cluster-secret-file", filepath.Join(cfg.dir, devSecretName),
	}
	if n.servesS3() {
		args = append(args, "--s3-addr", loopback(n.S3))
	}
	if n.Role == roleMeta || n.Role == roleServer {
		args = append(args, "--out-after", cfg.outAfter.String(), "--keep-deleted", cfg.keep.String())
	}
	if code := cmp.Or(cfg.code, l.Code); code != "" {
		args = append(args, "--ec", code)
	}
	return append(args, n.dirs(cfg.dir)...)
}
