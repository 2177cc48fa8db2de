package membership

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/placement"
)

// group is metadata group 0 as the processes see it: one leads, a majority confirms it, and the map is kept.
type group struct {
	mu     sync.Mutex
	leader uint64
	data   []byte
	epoch  uint64
	lose   int // answers to SetClusterMap that are lost after the commit
}

func (g *group) lead(host uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leader = host
}

func (g *group) ClusterMap(context.Context) (*placement.Map, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.data == nil {
		return nil, nil
	}
	return DecodeMap(g.data)
}

func (g *group) SetClusterMap(_ context.Context, m *placement.Map) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.epoch != 0 && m.Epoch != g.epoch+1 {
		return meta.ErrStaleEpoch
	}
	g.data, g.epoch = encode(m), m.Epoch
	if g.lose > 0 {
		g.lose--
		return meta.ErrUnavailable
	}
	return nil
}

func (g *group) leadsNow(host uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leader == host
}

// proc is a process of the test's cluster.
type proc struct {
	w     *world
	node  Node
	dir   *Directory
	coord *Coordinator
	agent *Agent
	stop  context.CancelFunc

	believes atomic.Uint64 // the leader of group 0 as it sees it; set apart from the truth by a test
	frozen   atomic.Bool   // calls to it and from it hang
	dead     atomic.Bool   // calls to it are refused

	mu      sync.Mutex // guards the following
	drives  []DriveReport
	clean   []Clean
	m       *placement.Map
	until   time.Time
	refused string
	twice   []placement.DriveID
	down    []string
	answers int
	kept    []Node
}

// world is a cluster in one bubble.
type world struct {
	t     *testing.T
	group *group
	mu    sync.Mutex
	procs map[string]*proc // by address
	wg    sync.WaitGroup
	ctx   context.Context
	end   context.CancelFunc
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, group: &group{}, procs: map[string]*proc{}}
	w.ctx, w.end = context.WithCancel(context.Background())
	return w
}

func (w *world) close() {
	w.end()
	w.mu.Lock()
	for _, p := range w.procs {
		p.frozen.Store(false)
	}
	w.mu.Unlock()
	w.wg.Wait()
}

var errBusy = errors.New("hangs")

// Do implements Caller for p.
func (p *proc) Do(ctx context.Context, addr string, call *rpc.Call) (rpc.Reply, error) {
	hang := func() (rpc.Reply, error) {
		<-ctx.Done()
		return rpc.Reply{}, fmt.Errorf("%w: %w", errBusy, ctx.Err())
	}
	p.w.mu.Lock()
	to := p.w.procs[addr]
	p.w.mu.Unlock()
	if to == nil || to.dead.Load() || p.dead.Load() {
		return rpc.Reply{}, rpc.ErrUnreachable
	}
	if to.frozen.Load() || p.frozen.Load() {
		return hang()
	}
	var head []byte
	switch call.Method {
	case MethodHello:
		var h Hello
		if err := decode(call.Head, &h); err != nil {
			return rpc.Reply{}, err
		}
		from := rpc.Identity{Node: p.node.Name, Roles: p.node.Roles, Incarnation: p.node.Incarnation}
		head = encode(to.dir.welcome(from, h))
	case MethodBeat:
		if to.coord == nil {
			return rpc.Reply{}, rpc.ErrRefused
		}
		b := new(Beat)
		if err := decode(call.Head, b); err != nil {
			return rpc.Reply{}, err
		}
		a, err := to.coord.Beat(ctx, b)
		if to.frozen.Load() || p.frozen.Load() {
			return hang()
		}
		if err != nil {
			return rpc.Reply{}, err
		}
		head = encode(a)
	}
	return rpc.Reply{Head: head}, nil
}

// start begins a process. Those with a host keep metadata; seeds are m1:1 ... as many as given.
func (w *world) start(name string, roles rpc.Role, host uint64, seeds []string, drives ...int) *proc {
	return w.startKnowing(nil, name, roles, host, seeds, drives...)
}

// startKnowing begins a process that has kept some nodes from earlier.
func (w *world) startKnowing(known []Node, name string, roles rpc.Role, host uint64, seeds []string, drives ...int) *proc {
	p := &proc{w: w, node: Node{
		Name: name, Addr: name + ":1", Incarnation: uint64(len(w.procs) + 1), Roles: roles, Host: host,
	}}
	f := sampleFounding()
	f.K, f.M, f.Partitions = 2, 1, 64
	p.dir = NewDirectory(Hello{Node: p.node, Seeds: seeds, Founding: &f}, known)
	for _, d := range drives {
		p.drives = append(p.drives, DriveReport{ID: driveID(d)})
	}
	if host != 0 {
		var err error
		p.coord, err = NewCoordinator(CoordinatorConfig{
			Directory: p.dir, Maps: w.group,
			Leads:   func() bool { return p.leader() == host && !p.frozen.Load() },
			Leader:  p.leader,
			Confirm: func(ctx context.Context) error { return p.confirm(ctx) },
			Code:    func(int) (int, int) { return 2, 1 },
			Policy:  Policy{OutAfter: 10 * time.Second},
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	p.agent = NewAgent(AgentConfig{
		Caller: p, Directory: p.dir, Local: p.coord, Report: p.report, Apply: p.apply,
		Refused: func(reason string) { p.mu.Lock(); defer p.mu.Unlock(); p.refused = reason },
		Down:    func(addr string) { p.mu.Lock(); defer p.mu.Unlock(); p.down = append(p.down, addr) },
		Keep:    func(nodes []Node) { p.mu.Lock(); defer p.mu.Unlock(); p.kept = nodes },
	})
	w.mu.Lock()
	w.procs[p.node.Addr] = p
	w.mu.Unlock()
	ctx, stop := context.WithCancel(w.ctx)
	p.stop = stop
	w.wg.Go(func() { p.agent.Run(ctx) })
	if p.coord != nil {
		w.wg.Go(func() { p.coord.Run(ctx) })
	}
	return p
}

// leader is whom p takes for the leader of group 0.
func (p *proc) leader() uint64 {
	if l := p.believes.Load(); l != 0 {
		return l
	}
	p.w.group.mu.Lock()
	defer p.w.group.mu.Unlock()
	return p.w.group.leader
}

func (p *proc) confirm(ctx context.Context) error {
	if p.frozen.Load() || p.dead.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if !p.w.group.leadsNow(p.node.Host) {
		return errors.New("does not lead")
	}
	return nil
}

func (p *proc) report() Beat {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := Beat{Drives: p.drives, Clean: p.clean}
	p.clean = nil
	if p.m != nil {
		b.Epoch = p.m.Epoch
	}
	return b
}

func (p *proc) apply(a Answer, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers++
	p.until, p.twice = until, a.Twice
	if a.Map == nil {
		return
	}
	m, err := DecodeMap(a.Map)
	if err != nil {
		p.w.t.Error(err)
		return
	}
	p.m = m
}

func (p *proc) get(read func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	read()
}

func (p *proc) epoch() (epoch uint64) {
	p.get(func() {
		if p.m != nil {
			epoch = p.m.Epoch
		}
	})
	return epoch
}

func (p *proc) clusterMap() (m *placement.Map) {
	p.get(func() { m = p.m })
	return m
}

// mayWrite tells whether p has the right to write shards.
func (p *proc) mayWrite() (yes bool) {
	p.get(func() { yes = time.Now().Before(p.until) })
	return yes
}

// kill ends a process without a goodbye.
func (p *proc) kill() {
	p.dead.Store(true)
	p.stop()
}

// cluster starts three metadata nodes, the first of which leads, and storage nodes n0 ... with a drive each.
func (w *world) cluster(storage int) (metas, nodes []*proc) {
	w.group.lead(1)
	seeds := []string{"m1:1", "m2:1", "m3:1"}
	for i := range 3 {
		metas = append(metas, w.start(fmt.Sprint("m", i+1), rpc.Meta, uint64(i+1), seeds))
	}
	for i := range storage {
		nodes = append(nodes, w.start(fmt.Sprint("n", i), rpc.Storage, 0, seeds, i))
	}
	return metas, nodes
}

// within runs f in a bubble with a world.
func within(t *testing.T, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		f(t, w)
	})
}
