package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// How long a new node may take until it is a member, and a node until nothing on it is needed any more.
const (
	joinTime  = time.Minute
	drainTime = 3 * time.Minute
)

// errNoModel says that there is no storage node after which a new one could be made.
var errNoModel = errors.New("cluster: there is no storage node")

// grow starts new storage nodes and waits until the cluster has taken them in. It does not wait until they have their share.
func grow(ctx context.Context, k *Cluster, _ []*Node, how How) (Undo, error) {
	for range how.Count {
		name := k.newName()
		n, err := k.another(name, []string{filepath.Join(k.dir(), name, "d1")})
		if err != nil {
			return nil, err
		}
		k.add(n)
		if k.separated {
			if err := nft(ctx, k.markRule(n)); err != nil {
				return nil, err
			}
		}
		if err := k.Start(n); err != nil {
			return nil, err
		}
		if err := k.waitMember(ctx, n); err != nil {
			return nil, fmt.Errorf("%s does not become a member: %w", name, err)
		}
	}
	return nil, nil
}

// newName is the name of the next storage node.
func (k *Cluster) newName() string {
	for i := 1; ; i++ {
		if _, err := k.Node(fmt.Sprint("n", i)); err != nil {
			return fmt.Sprint("n", i)
		}
	}
}

// another is a storage node that is started as those of the cluster are, but for its name, ports and drives.
func (k *Cluster) another(name string, dirs []string) (*Node, error) {
	all := k.Members()
	i := slices.IndexFunc(all, func(n *Node) bool { return n.Role == "storagenode" && len(n.Command) > len(n.Dirs) })
	if i < 0 {
		return nil, errNoModel
	}
	model := all[i]
	n := &Node{Role: model.Role, Name: name, Dirs: dirs, Log: filepath.Join(k.dir(), name+".log"), down: true} // until it is started
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	n.Addr = ports[0]
	n.Admin = "http://" + ports[1]
	n.Command = slices.Clone(model.Command[:len(model.Command)-len(model.Dirs)])
	for flag, value := range map[string]string{"--node": name, "--rpc-addr": ports[0], "--admin-addr": ports[1]} {
		if n.Command, err = withFlag(n.Command, flag, value); err != nil {
			return nil, err
		}
	}
	n.Command = append(n.Command, dirs...)
	for _, dir := range dirs {
		err = errors.Join(err, os.MkdirAll(dir, 0o700))
	}
	return n, err
}

// withFlag gives a flag of a command line another value.
func withFlag(command []string, flag, value string) ([]string, error) {
	i := slices.Index(command, flag)
	if i < 0 || i+1 >= len(command) {
		return nil, fmt.Errorf("cluster: no %s in the command line of %s", flag, command[0])
	}
	command[i+1] = value
	return command, nil
}

// Free ports are looked for below the range from which the kernel takes those of outgoing connections: a process that comes back must not
// find its port taken by somebody's call.
const firstPort, lastPort = 10_000, 30_000

// freePorts are addresses on which nobody listens.
func freePorts(count int) (addrs []string, err error) {
	const tries = 1000
	for range tries {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		defer l.Close() // not before all are found
		if addrs = append(addrs, addr); len(addrs) == count {
			return addrs, nil
		}
	}
	return nil, errors.New("cluster: no free port")
}

// waitMember waits until all drives of a new node belong to the cluster.
func (k *Cluster) waitMember(ctx context.Context, n *Node) error {
	return poll(ctx, joinTime, func() error {
		s, err := k.Status(ctx)
		if err != nil {
			return errNotYet
		}
		up := 0
		for _, d := range s.Drives {
			if d.Node == n.Name && d.State == "up" && d.Live {
				up++
			}
		}
		if up < len(n.Dirs) {
			return errNotYet
		}
		return nil
	})
}

// drain takes nodes out of the cluster as an operator does: their shards are moved elsewhere, they are removed, and only then ended.
func drain(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	for _, n := range nodes {
		for _, what := range []string{"drain", "remove"} {
			if _, err := k.patientCommand(ctx, drainTime, "admin", what, n.Name, "--dir", k.dir()); err != nil {
				return nil, err
			}
		}
		n.mu.Lock()
		n.removed = true
		n.mu.Unlock()
		if err := errors.Join(n.Terminate(), n.WaitGone(ctx)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// scrub has every drive begin to read all its shards.
func scrub(ctx context.Context, k *Cluster, _ []*Node, _ How) (Undo, error) { return nil, k.Scrub(ctx) }
