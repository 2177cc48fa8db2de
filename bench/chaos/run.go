package chaos

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"kintsugi/bench/chaos/cluster"
	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/report"
	"kintsugi/bench/chaos/workload"
)

// run is a run under way.
type run struct {
	config   Config
	began    time.Time
	dir      string
	cluster  *cluster.Cluster // nil: it is of somebody else
	injector injector
	log      *history.Log
	load     *workload.Load
	watcher  *watcher // nil without cluster
	director *director
	screen   *screen

	loadEnd   time.Duration
	early     bool // somebody ended the run before its time
	audit     *cluster.Audit
	final     *cluster.Status
	endUsages []usage
}

// Run makes a run and returns what came of it. A run whose oracles found something is no error, nor is one that ctx ends once there
// is a cluster: Data says so.
func Run(ctx context.Context, c Config) (data report.Data, err error) {
	c, err = c.withDefaults()
	if err != nil {
		return data, err
	}
	r := &run{config: c, began: time.Now()}
	r.screen = newScreen(r)
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.start(ctx); err != nil {
		return data, err
	}
	if err := r.perform(ctx); err != nil && ctx.Err() == nil {
		return data, err
	}
	if r.early = ctx.Err() != nil; r.early {
		r.loadEnd = cmp.Or(r.loadEnd, r.log.Now())
	}
	r.screen.say("asking the oracles")
	data = r.judge()
	return data, nil
}

// start starts the cluster, unless there is one, and makes the clients.
func (r *run) start(ctx context.Context) (err error) {
	c := &r.config
	r.injector = &command{template: c.FaultCommand, shape: c.Scenario.Cluster}
	if !c.foreign() {
		if err := r.startCluster(ctx); err != nil {
			return err
		}
	}
	r.log = history.NewLog(time.Now())
	load := c.Scenario.Load
	config := workload.Config{Endpoints: c.Endpoints, AccessKey: c.AccessKey, SecretKey: c.SecretKey, Region: c.Region, Bucket: c.Bucket, Seed: c.Seed,
		Clients: load.Clients, Rate: load.Rate, Keys: load.Keys, Timeout: load.Timeout, Mix: load.Mix}
	for _, s := range load.Sizes {
		config.Sizes = append(config.Sizes, workload.SizeShare(s))
	}
	if r.load, err = workload.New(config, r.log); err != nil {
		return err
	}
	if r.cluster != nil {
		if r.watcher, err = newWatcher(ctx, r.cluster, r.log); err != nil {
			return err
		}
	}
	r.director = newDirector(*c, withClients{r.injector, r.load}, r.watcher, r.log, r.screen.say)
	return nil
}

func (r *run) startCluster(ctx context.Context) (err error) {
	c, shape := &r.config, r.config.Scenario.Cluster
	if r.dir = c.Dir; r.dir == "" {
		if r.dir, err = os.MkdirTemp("", "kintsugi-chaos-"); err != nil {
			return err
		}
	}
	c.AccessKey, c.SecretKey = "CHAOS"+rand.Text()[:15], rand.Text()+rand.Text()[:14]
	r.screen.say(fmt.Sprintf("starting %d storage nodes, %d metadata nodes and %d gateways, code %d+%d, in %s",
		shape.Nodes, shape.Metas, shape.Gateways, shape.Code.K, shape.Code.M, r.dir))
	r.cluster, err = cluster.Start(ctx, cluster.Config{Program: c.Program, Dir: r.dir, Nodes: shape.Nodes, Metas: shape.Metas, Gateways: shape.Gateways,
		Code: fmt.Sprintf("%d+%d", shape.Code.K, shape.Code.M), OutAfter: shape.OutAfter, KeepDeleted: shape.KeepDeleted, Disk: shape.Disk, FaultyDrives: c.FaultyDrives, OwnNetwork: c.OwnNetwork,
		Env: []string{"KINTSUGI_ROOT_ACCESS_KEY=" + c.AccessKey, "KINTSUGI_ROOT_SECRET_KEY=" + c.SecretKey}})
	if err != nil {
		return err
	}
	c.Endpoints, r.injector = r.cluster.Endpoints(), own{r.cluster}
	return nil
}

// perform keeps the load up while faults happen, then mends everything and looks at all of it.
func (r *run) perform(ctx context.Context) error {
	background, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	working.Go(func() { r.screen.watch(background) })
	if r.watcher != nil {
		working.Go(func() { r.watcher.run(background) })
	}
	r.screen.say(fmt.Sprintf("writing the first version of %d objects", r.config.Scenario.Load.Keys))
	if err := r.load.Prepare(ctx); err != nil {
		return err
	}
	r.screen.say(fmt.Sprintf("load begins; seed %d, scenario %s", r.config.Seed, r.config.Scenario.Name))
	loading, endLoad := context.WithCancel(ctx)
	var clients sync.WaitGroup
	clients.Go(func() { r.load.Run(loading) })
	err := r.director.run(ctx)
	endLoad()
	clients.Wait()
	r.loadEnd = r.log.Now()
	if err := errors.Join(err, r.injector.Mend()); err != nil {
		return err
	}
	if err := r.director.waitHealed(ctx); err != nil {
		return err
	}
	r.screen.say("reading every object")
	if err := r.load.Sweep(ctx); err != nil {
		return err
	}
	return r.look(ctx)
}

// How long the look at the drives at the end may take, and the pause between two.
const (
	auditLimit = 60 * time.Second
	auditPause = 2 * time.Second
)

// look waits until nothing is missing, damaged or left over on the drives, as seen from outside. It comes after the sweep, which
// tells what exists.
func (r *run) look(ctx context.Context) error {
	if r.cluster == nil {
		return nil
	}
	r.screen.say("reading the drives, until they have every shard and nothing else")
	if r.damagedFiles() {
		if err := r.cluster.Scrub(ctx); err != nil {
			r.screen.say(err.Error())
		}
	}
	limit := r.log.Now() + min(auditLimit, r.config.HealLimit)
	if r.director.gaveUp {
		limit = r.log.Now()
	}
	for last := ""; ; {
		r.watcher.lookMetrics(ctx)
		audit, err := r.cluster.Audit(ctx)
		if err != nil {
			return err
		}
		status, err := r.cluster.Status(ctx)
		r.audit = &audit
		if err == nil {
			r.final = &status
		}
		w := r.wholeness()
		missing := w.unsettled()
		if missing == "" || r.log.Now() > limit {
			break
		}
		if missing != last {
			r.screen.say("not yet: " + missing)
			last = missing
		}
		if err := pause(ctx, auditPause); err != nil {
			return err
		}
	}
	r.endUsages = r.watcher.latestUsages()
	return nil
}

// damagedFiles tells whether a fault has done what only reading everything finds.
func (r *run) damagedFiles() bool {
	for _, f := range r.director.snapshot() {
		switch f.Fault.Fault {
		case "flip", "truncate", "lost-writes", "misdirected":
			return true
		}
	}
	return false
}

// close ends the cluster and removes its files.
func (r *run) close() error {
	if r.cluster == nil {
		return nil
	}
	err := r.cluster.Close()
	if !r.config.Keep {
		err = errors.Join(err, os.RemoveAll(r.dir))
	}
	return err
}

func (r *run) info() report.Cluster {
	shape := r.config.Scenario.Cluster
	info := report.Cluster{Nodes: shape.Nodes, Metas: shape.Metas, Gateways: shape.Gateways, K: shape.Code.K, M: shape.Code.M, Cores: runtime.NumCPU()}
	if r.cluster == nil {
		info.Endpoint = r.config.Endpoints[0]
	}
	return info
}
