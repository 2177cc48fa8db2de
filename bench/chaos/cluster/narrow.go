package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A narrow line is a class of the loopback interface's queue with a rate of its own: filters put the packets that a node sends into it. The
// line keeps narrowQueue of what waits and drops the rest.
const (
	narrowRate  = "1mbit"
	narrowBurst = "128kb" // more than one packet of the loopback interface, the least that can be
	narrowQueue = "256kb"
)

// narrow has everything that a node sends go through a line of narrowRate.
func narrow(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	if !k.separated {
		return nil, errNotSeparated
	}
	lines := "qdisc add dev lo root handle 1: htb default 0\n" // 0: who is in no class goes by
	var rules strings.Builder
	for _, n := range nodes {
		class := fmt.Sprintf("1:%x", k.gid(n))
		lines += fmt.Sprintf("class add dev lo parent 1: classid %s htb rate %s burst %s cburst %s\n", class, narrowRate, narrowBurst, narrowBurst)
		lines += fmt.Sprintf("qdisc add dev lo parent %s bfifo limit %s\n", class, narrowQueue)
		fmt.Fprintf(&rules, "add rule inet %s %s meta skgid %d meta priority set %s\n", netTable, netChain, k.gid(n), class)
	}
	if err := tc(ctx, lines); err != nil {
		return nil, err
	}
	widen := func(ctx context.Context) error {
		return errors.Join(k.clearFilters(ctx), tc(ctx, "qdisc del dev lo root\n"))
	}
	return widen, nft(ctx, rules.String())
}

// tc changes how packets wait to be sent.
func tc(ctx context.Context, lines string) error {
	return netTool{name: "tc", pack: "iproute2", what: "queues of the network", args: []string{"-batch", "-"}}.feed(ctx, lines)
}
