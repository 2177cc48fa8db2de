package chaos

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"kintsugi/bench/chaos/cluster"
	"kintsugi/bench/chaos/workload"
)

// withClients adds to an injector the faults that are done to nobody: clients that behave badly.
type withClients struct {
	injector
	load *workload.Load
}

// ownFiles is how many descriptors this process, or one that it connects to, may need for other things than a crowd.
const ownFiles = 2000

func (w withClients) Inject(ctx context.Context, fault string, nodes []string, how cluster.How) (cluster.Undo, error) {
	manner, known := workload.ParseManner(fault)
	if !known {
		return w.injector.Inject(ctx, fault, nodes, how)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	if manner == workload.Crowd && uint64(how.Count)+ownFiles > limit.Cur {
		return nil, fmt.Errorf("%w: %d connections with a limit of %d open files: raise it with ulimit -n", cluster.ErrCannot, how.Count, limit.Cur)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.load.Misbehave(ctx, manner, how.Count) }()
	return func(context.Context) error {
		cancel()
		return <-done
	}, nil
}
