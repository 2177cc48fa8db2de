package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Network faults are made by packet filters in a network namespace of the run's own, so that the machine's network is not touched. All processes
// share its loopback interface; whose packets are whose is told by three things:
//
//   - the group id with which each process is started marks the packets that it sends,
//   - the ports on which it listens mark the packets to it on connections that others began,
//   - a mark on the connections that it began, set with their first packet, marks the answers on those.
const (
	netTable = "kintsugi_chaos"
	netChain = "faults"
	firstGID = 61000
)

// NewNetwork has cmd run in a network namespace of its own. Only root can.
func NewNetwork(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
}

// JoinNetwork makes the new namespace usable: it has a loopback interface that is down.
func JoinNetwork() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("cluster: loopback interface: %w", err)
	}
	return nil
}

// gid is the group id of a node's process.
func (k *Cluster) gid(n *Node) int {
	for i, other := range k.Nodes() {
		if other == n {
			return firstGID + i
		}
	}
	return firstGID - 1
}

// credential makes a process of an own network tell itself apart from the others.
func (k *Cluster) credential(n *Node) *syscall.Credential {
	if !k.config.OwnNetwork {
		return nil
	}
	return &syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(k.gid(n))}
}

// separate starts all processes again with their own group ids, after the filter that marks their connections is there.
func (k *Cluster) separate(ctx context.Context) error {
	var rules strings.Builder
	fmt.Fprintf(&rules, "add table inet %s\n", netTable)
	fmt.Fprintf(&rules, "add chain inet %s marks { type filter hook output priority -10; }\n", netTable)
	fmt.Fprintf(&rules, "add chain inet %s %s { type filter hook output priority 0; }\n", netTable, netChain)
	for _, n := range k.Nodes() {
		rules.WriteString(k.markRule(n))
	}
	if err := nft(ctx, rules.String()); err != nil {
		return err
	}
	k.separated = true
	return errors.Join(killAll(ctx, k.Nodes()), k.startAll(k.Nodes()))
}

// markRule marks the connections that a node begins.
func (k *Cluster) markRule(n *Node) string {
	return fmt.Sprintf("add rule inet %s marks ct state new meta skgid %d ct mark set %d\n", netTable, k.gid(n), k.gid(n))
}

// nft changes the filters, all or nothing.
func nft(ctx context.Context, rules string) error {
	return netTool{name: "nft", pack: "nftables", what: "packet filters", args: []string{"-f", "-"}}.feed(ctx, rules)
}

// netTool is a program that changes the network by what it reads from standard input.
type netTool struct {
	name, pack string // pack is the package that has it
	what       string // that it changes
	args       []string
}

// feed has the tool do what the lines say. If there is no such tool or it refuses, the machine cannot.
func (t netTool) feed(ctx context.Context, lines string) error {
	path, err := exec.LookPath(t.name)
	if err != nil {
		return fmt.Errorf("%w: %s is not installed (package %s)", ErrCannot, t.name, t.pack)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, t.args...)
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s: %w: %s", ErrCannot, t.what, err, bytes.TrimSpace(out))
	}
	return nil
}

// cut drops every packet from and to the nodes: each is alone.
func cut(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	return k.filter(ctx, nodes, "drop", "drop")
}

// lossy drops three of ten packets that the nodes send.
func lossy(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	return k.filter(ctx, nodes, "numgen random mod 100 < 30 drop", "")
}

// reset answers every packet that the nodes send with the end of its connection.
func reset(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	return k.filter(ctx, nodes, "meta l4proto tcp reject with tcp reset", "")
}

// mute drops what the nodes send to others, but not what they receive: the others hear nothing of them, they hear everything.
func mute(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	return k.filter(ctx, nodes, "drop", "")
}

// errNotSeparated says that network faults would hit others than the cluster.
var errNotSeparated = fmt.Errorf("%w: without a network namespace of its own, which only root can make, a run must not touch packets", ErrCannot)

// filter does something to the packets that nodes send, and to those that are sent to them.
func (k *Cluster) filter(ctx context.Context, nodes []*Node, sent, received string) (Undo, error) {
	if !k.separated {
		return nil, errNotSeparated
	}
	var rules strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&rules, "add rule inet %s %s meta skgid %d %s\n", netTable, netChain, k.gid(n), sent)
		if received == "" {
			continue
		}
		fmt.Fprintf(&rules, "add rule inet %s %s ct mark %d %s\n", netTable, netChain, k.gid(n), received)
		fmt.Fprintf(&rules, "add rule inet %s %s tcp dport { %s } %s\n", netTable, netChain, strings.Join(n.ports(), ", "), received)
	}
	if err := nft(ctx, rules.String()); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return k.clearFilters(ctx) }, nil
}

// clearFilters lets all packets through again. Network faults do not overlap in time, or the first to end ends all.
func (k *Cluster) clearFilters(ctx context.Context) error {
	if !k.separated {
		return nil
	}
	return nft(ctx, fmt.Sprintf("flush chain inet %s %s\n", netTable, netChain))
}

// ports are those on which a node listens.
func (n *Node) ports() (ports []string) {
	for _, addr := range []string{n.Addr, n.Admin, n.S3} {
		if i := strings.LastIndex(addr, "//"); i >= 0 {
			addr = addr[i+2:]
		}
		if _, port, err := net.SplitHostPort(addr); err == nil {
			ports = append(ports, port)
		}
	}
	return ports
}

// readyTime bounds how long the processes take after they were started again, before there is load.
const readyTime = time.Minute

// waitWhole waits until the cluster calls itself whole.
func (k *Cluster) waitWhole(ctx context.Context) error {
	return poll(ctx, readyTime, func() error {
		if s, err := k.Status(ctx); err != nil || !s.Whole(0) {
			return errNotYet
		}
		return nil
	})
}
