package membership

import (
	"context"
	"slices"
	"sync"
	"time"

	"kintsugi/internal/rpc"
)

// search asks everyone who may know the coordinator, once.
func (a *Agent) search(ctx context.Context) {
	for _, addr := range a.candidates(time.Now()) {
		if ctx.Err() != nil {
			return
		}
		b := a.compose()
		b.Table = 0 // so that a coordinator answers at once
		if a.beat(ctx, addr, &b, probeTimeout) == nil {
			return
		}
	}
	if time.Since(a.greeted) >= helloPause {
		a.greeted = time.Now()
		greet(ctx, a.cfg.Caller, a.cfg.Directory, probeTimeout)
		a.keep()
	}
	pause(ctx, searchPause)
}

// candidates lists who may be the coordinator: this process if it thinks so, then the others; last those that did not answer lately.
func (a *Agent) candidates(now time.Time) []string {
	self := a.cfg.Directory.Self()
	var first, last []string
	if a.cfg.Local != nil {
		first = append(first, self.Addr)
	}
	for _, addr := range a.cfg.Directory.metaAddrs() {
		switch {
		case addr == self.Addr || slices.Contains(first, addr) || slices.Contains(last, addr):
		case now.Before(a.suspect[addr]):
			last = append(last, addr)
		default:
			first = append(first, addr)
		}
	}
	return append(first, last...)
}

// metaAddrs lists the addresses of metadata nodes: those that are known, those that were up first, and the seeds.
func (d *Directory) metaAddrs() []string {
	v := d.now.Load()
	var up, down []string
	for _, p := range d.Peers() {
		switch {
		case p.Node.Roles&rpc.Meta == 0 || p.Node.Addr == "":
		case p.Up:
			up = append(up, p.Node.Addr)
		default:
			down = append(down, p.Node.Addr)
		}
	}
	return slices.Concat(up, v.self.Seeds, down)
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
// those of the seeds, by address.
func greet(ctx context.Context, caller Caller, d *Directory, limit time.Duration) map[string]Hello {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	self := d.Hello()
	head := encode(self)
	addrs := slices.Compact(slices.Sorted(slices.Values(d.metaAddrs())))
	answers := make([]*Hello, len(addrs))
	var asking sync.WaitGroup
	for i, addr := range addrs {
		if addr == self.Node.Addr {
			answers[i] = &self
			continue
		}
		asking.Go(func() { answers[i] = ask(ctx, caller, addr, head) })
	}
	asking.Wait()
	fromSeeds := map[string]Hello{}
	for i, h := range answers {
		if h == nil {
			continue
		}
		d.Learn(*h)
		if slices.Contains(self.Seeds, addrs[i]) {
			fromSeeds[addrs[i]] = *h
		}
	}
	return fromSeeds
}

// ask says hello to one process. It returns nil if that does not answer well: it will be asked again.
func ask(ctx context.Context, caller Caller, addr string, head []byte) *Hello {
	reply, err := caller.Do(ctx, addr, &rpc.Call{Method: MethodHello, Head: head, Idempotent: true})
	if err != nil {
		return nil
	}
	h := new(Hello)
	if decode(reply.Head, h) != nil {
		return nil
	}
	return h
}

// union returns the sorted union of both.
func union(a, b []uint32) []uint32 {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
