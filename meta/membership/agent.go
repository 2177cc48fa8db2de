package membership

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"kintsugi/internal/pace"
	"kintsugi/internal/rpc"
)

// Caller sends calls to other processes: an *rpc.Client.
type Caller interface {
	Do(ctx context.Context, addr string, call *rpc.Call) (rpc.Reply, error)
}

// AgentConfig wires an Agent. What it calls must not block for long: a beat waits for it.
type AgentConfig struct {
	Caller    Caller
	Directory *Directory
	// Local is the coordinator of this process, nil if it has none.
	Local *Coordinator
	// Report returns what this process says of itself: Drives, Epoch, Clean, OldestRead, Repair, Leads, Cluster. The rest is
	// set by the agent. What is in Clean is told until a coordinator heard it; Report need not repeat it.
	Report func() Beat
	// Apply takes an answer: Map, Twice, Ripe, Orders, Founding. The directory has it already. until is when the
	// right to write shards ends.
	Apply func(a Answer, until time.Time)
	// Refused is told why the cluster refuses this process, each time that it does. Nil: logged.
	Refused func(reason string)
	// Down is told the address of a process that is no more: what waits for it waits in vain. Nil: nothing.
	Down func(addr string)
	// Keep is told the nodes to look for at the next start, whenever they change. Nil: nothing.
	Keep func([]Node)

	// Patience is how long a coordinator may take to answer, HoldTime included; 0 means 1 s.
	Patience time.Duration
	Logger   *slog.Logger // nil: discard
}

// Intervals of an agent.
const (
	patience      = time.Second
	beatPause     = 20 * time.Millisecond // between two beats at least
	refusedPause  = time.Second
	searchPause   = 50 * time.Millisecond // between two questions to one who may be the coordinator
	hopelessAfter = 5 * time.Second       // without a coordinator it is looked for less often
	helloPause    = 300 * time.Millisecond
	farewellLimit = 300 * time.Millisecond
)

// Agent keeps this process a member: it beats, and passes on what the coordinator answers.
type Agent struct {
	cfg    AgentConfig
	leader string    // address of the coordinator, "" while it is looked for
	lost   time.Time // since when it is looked for
	clean  []Clean   // not heard by a coordinator yet
	kept   []Node
}

// NewAgent returns an Agent that does nothing until Run.
func NewAgent(cfg AgentConfig) *Agent {
	cfg.Patience = cmp.Or(cfg.Patience, patience)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Agent{cfg: cfg}
}

// Run beats until ctx ends, then says that this process leaves.
func (a *Agent) Run(ctx context.Context) {
	a.lost = time.Now()
	for ctx.Err() == nil {
		began := time.Now()
		if a.leader == "" {
			a.search(ctx)
		} else {
			a.follow(ctx)
		}
		_ = pace.Pause(ctx, beatPause-time.Since(began))
	}
	a.leave(context.WithoutCancel(ctx))
}

// follow beats once to the coordinator that is known.
func (a *Agent) follow(ctx context.Context) {
	b := a.compose()
	sent := time.Now()
	limited, cancel := context.WithTimeout(ctx, a.cfg.Patience)
	defer cancel()
	answer, err := a.send(limited, a.leader, &b)
	if err != nil {
		if ctx.Err() == nil {
			a.cfg.Logger.Info("the coordinator does not answer, or is none any more", "addr", a.leader, "error", err)
			a.leader, a.lost = "", time.Now()
		}
		return
	}
	a.take(ctx, a.leader, answer, sent)
}

// take follows the coordinator that answered.
func (a *Agent) take(ctx context.Context, addr string, answer *Answer, sent time.Time) {
	a.leader = addr
	if answer.Refused != "" {
		a.refused(answer.Refused)
		_ = pace.Pause(ctx, refusedPause)
		return
	}
	a.clean = nil
	down := a.cfg.Directory.apply(addr, answer)
	if a.cfg.Down != nil {
		for _, addr := range down {
			a.cfg.Down(addr)
		}
	}
	a.cfg.Apply(*answer, sent.Add(time.Duration(answer.Lease)*time.Millisecond))
	a.keep()
}

// compose returns the next beat.
func (a *Agent) compose() Beat {
	b := a.cfg.Report()
	v := a.cfg.Directory.now.Load()
	b.Format, b.Node, b.Table = Format, v.self.Node, v.table
	if v.orders.Serial > b.Orders.Serial {
		b.Orders = v.orders
	}
	a.clean = mergeClean(a.clean, b.Clean)
	b.Clean = a.clean
	return b
}

// mergeClean keeps one report for each epoch, and no more epochs than there may be news of.
func mergeClean(kept, fresh []Clean) []Clean {
	const maxEpochs = 64 // older ones are reported again by their reconcilers
	for _, c := range fresh {
		kept = addClean(kept, c)
	}
	if n := len(kept); n > maxEpochs {
		kept = kept[n-maxEpochs:]
	}
	return kept
}

func addClean(kept []Clean, c Clean) []Clean {
	for i := range kept {
		if kept[i].Epoch == c.Epoch {
			kept[i].Partitions = union(kept[i].Partitions, c.Partitions)
			return kept
		}
	}
	return append(kept, Clean{Epoch: c.Epoch, Partitions: union(nil, c.Partitions)})
}

var errElsewhere = errors.New("another node coordinates, or none")

// send gives the beat to the coordinator at addr. It may run many times at once.
func (a *Agent) send(ctx context.Context, addr string, b *Beat) (*Answer, error) {
	answer, err := a.exchange(ctx, addr, b)
	var refusal *rpc.StatusError
	if errors.As(err, &refusal) && refusal.Code == codeNoCoordinator || err == nil && answer.Leader != "" {
		return nil, errElsewhere
	}
	return answer, err
}

func (a *Agent) exchange(ctx context.Context, addr string, b *Beat) (*Answer, error) {
	if a.cfg.Local != nil && addr == a.cfg.Directory.Self().Addr {
		return a.cfg.Local.Beat(ctx, b)
	}
	reply, err := a.cfg.Caller.Do(ctx, addr, &rpc.Call{Method: MethodBeat, Head: encode(b), Idempotent: true})
	if err != nil {
		return nil, err
	}
	answer := new(Answer)
	if err := decode(reply.Head, answer); err != nil {
		return nil, err
	}
	return answer, nil
}

func (a *Agent) refused(reason string) {
	if a.cfg.Refused != nil {
		a.cfg.Refused(reason)
		return
	}
	a.cfg.Logger.Error("the cluster refuses this node", "reason", reason)
}

// leave tells the coordinator that this process ends, so that nobody waits for it.
func (a *Agent) leave(ctx context.Context) {
	if a.leader == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, farewellLimit)
	defer cancel()
	b := a.compose()
	b.Leaving = true
	if _, err := a.send(ctx, a.leader, &b); err != nil {
		a.cfg.Logger.Info("the coordinator was not told of the end", "error", err)
	}
}
