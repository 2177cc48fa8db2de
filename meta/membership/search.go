package membership

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"kintsugi/internal/pace"
	"kintsugi/internal/rpc"
)

// found is what a coordinator answered.
type found struct {
	addr   string
	answer *Answer
	sent   time.Time
}

// search looks for the coordinator for a while: everyone who may be it is asked at the same time, over and over, for
// one that is stopped must not cost the time of the others. They also tell of others whom this process does not know.
func (a *Agent) search(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, a.cfg.Patience)
	defer cancel()
	b := a.compose()
	b.Table = 0 // so that a coordinator answers at once
	rest := searchPause
	if time.Since(a.lost) > hopelessAfter {
		rest = helloPause
	}
	answers := make(chan found, 1)
	var asking sync.WaitGroup
	for _, addr := range a.candidates() {
		asking.Go(func() { a.askForEver(limited, addr, &b, rest, answers) })
	}
	asking.Go(func() { greet(limited, a.cfg.Caller, a.cfg.Directory, a.cfg.Patience) })
	select {
	case f := <-answers:
		cancel()
		asking.Wait()
		a.take(ctx, f.addr, f.answer, f.sent)
	case <-limited.Done():
		asking.Wait()
		a.keep()
	}
}

// askForEver sends the beat until it is answered as by a coordinator, or ctx ends.
func (a *Agent) askForEver(ctx context.Context, addr string, b *Beat, rest time.Duration, answers chan<- found) {
	for ctx.Err() == nil {
		sent := time.Now()
		if answer, err := a.send(ctx, addr, b); err == nil {
			select {
			case answers <- found{addr, answer, sent}:
			default: // another was faster
			}
			return
		}
		_ = pace.Pause(ctx, rest)
	}
}

// candidates lists who may be the coordinator.
func (a *Agent) candidates() []string {
	addrs := a.cfg.Directory.metaAddrs()
	if a.cfg.Local != nil {
		addrs = append(addrs, a.cfg.Directory.Self().Addr)
	}
	slices.Sort(addrs)
	return slices.Compact(addrs)
}

// metaAddrs lists the addresses of the metadata nodes that are known, and the seeds. One may come twice.
func (d *Directory) metaAddrs() []string {
	v := d.now.Load()
	addrs := slices.Clone(v.self.Seeds)
	for _, p := range v.peers {
		if p.Node.Roles&rpc.Meta != 0 && p.Node.Addr != "" {
			addrs = append(addrs, p.Node.Addr)
		}
	}
	return addrs
}

// keep passes on where the metadata nodes are, if that changed.
func (a *Agent) keep() {
	if a.cfg.Keep == nil {
		return
	}
	var nodes []Node
	for _, p := range a.cfg.Directory.Peers() {
		if p.Node.Roles&rpc.Meta != 0 && p.Node.Addr != "" {
			nodes = append(nodes, p.Node)
		}
	}
	if !slices.Equal(nodes, a.kept) {
		a.kept = nodes
		a.cfg.Keep(nodes)
	}
}

// greet says hello to all metadata nodes that are known and to the seeds, and lets d learn from the answers. It returns
// those of the seeds, by address, and the addresses that refused to answer.
func greet(ctx context.Context, caller Caller, d *Directory, limit time.Duration) (fromSeeds map[string]Hello, refused []string) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	self := d.Hello()
	head := encode(self)
	addrs := slices.Compact(slices.Sorted(slices.Values(d.metaAddrs())))
	answers, failed := make([]*Hello, len(addrs)), make([]error, len(addrs))
	var asking sync.WaitGroup
	for i, addr := range addrs {
		if addr == self.Node.Addr {
			answers[i] = &self
			continue
		}
		asking.Go(func() { answers[i], failed[i] = ask(ctx, caller, addr, head) })
	}
	asking.Wait()
	fromSeeds = map[string]Hello{}
	for i, h := range answers {
		if errors.Is(failed[i], rpc.ErrRefused) {
			refused = append(refused, addrs[i])
		}
		if h == nil {
			continue
		}
		d.Learn(*h)
		if slices.Contains(self.Seeds, addrs[i]) {
			fromSeeds[addrs[i]] = *h
		}
	}
	return fromSeeds, refused
}

// ask says hello to one process.
func ask(ctx context.Context, caller Caller, addr string, head []byte) (*Hello, error) {
	reply, err := caller.Do(ctx, addr, &rpc.Call{Method: MethodHello, Head: head, Idempotent: true})
	if err != nil {
		return nil, err
	}
	h := new(Hello)
	if err := decode(reply.Head, h); err != nil {
		return nil, err
	}
	return h, nil
}

// union returns the sorted union of both.
func union(a, b []uint32) []uint32 {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
