package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/erasure"
	"kintsugi/gateway"
	"kintsugi/gateway/blob"
	"kintsugi/internal/drive"
	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/meta/membership"
	"kintsugi/meta/metarpc"
	"kintsugi/meta/raftnet"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardrpc"
)

// node is a process of a cluster: a gateway, a storage node, a metadata node, or all of them.
type node struct {
	cfg     nodeConfig
	log     *slog.Logger
	metrics *prometheus.Registry

	client    *rpc.Client
	server    *rpc.Server
	directory *membership.Directory
	record    *recordKeeper
	view      *clusterView
	shelf     *shelf
	reported  reported
	hints     *hinter

	founding atomic.Pointer[membership.Founding] // nil until the cluster is known
	drivesOf placement.ClusterID                 // the cluster that the drives were found to belong to; zero: none has any
	gate     gate
	meta     *meta.Client

	// With the role Meta:
	coordinator *membership.Coordinator
	transport   *raftnet.Transport
	host        *metaHost
	ripe        atomic.Int64 // Unix ms: what was queued for deletion before it may go
	// With the role Storage:
	fence  *storagenode.Fence
	repair *repair
	// With the role Gateway; blobs with Meta, too:
	blobs *blob.Store
	front *gateway.Server

	agent   *membership.Agent
	leased  atomic.Int64           // Unix ms of the end of the last lease: this process takes part until then
	refused atomic.Value           // string: why the cluster refuses this process, as it said last
	stale   chan struct{}          // somebody has a newer map
	known   chan []membership.Node // to be kept; holds the newest
	serving atomic.Bool
	running sync.WaitGroup
	watcher sync.WaitGroup // of what opens and closes drives and the metadata replica
}

func (n *node) is(role rpc.Role) bool { return n.cfg.roles&role != 0 }

// newNode makes the parts of a process that listens at ports. Nothing runs yet.
func newNode(ctx context.Context, cfg nodeConfig, log *slog.Logger, ports listeners) (*node, error) {
	n := &node{cfg: cfg, log: log, metrics: newMetrics(), stale: make(chan struct{}, 1), known: make(chan []membership.Node, 1)}
	self := membership.Node{
		Name: cfg.name, Incarnation: rand.Uint64() | 1, Addr: ports.rpc.Addr().String(), Admin: ports.admin.Addr().String(),
		Zone: cfg.zone, Roles: cfg.roles, Release: version,
	}
	if self.Name == "" {
		self.Name = self.Addr
	}
	if ports.s3 != nil {
		self.S3 = ports.s3.Addr().String()
	}
	rpcConfig := rpc.Config{
		Self:   rpc.Identity{Node: self.Name, Roles: cfg.roles, Incarnation: self.Incarnation},
		Secret: cfg.secret, Dial: cfg.dial, MaxVersion: cfg.rpcVersion, Logger: log, Registerer: n.metrics,
	}
	var err error
	if n.client, err = rpc.NewClient(rpcConfig); err != nil {
		return nil, err
	}
	if n.server, err = rpc.NewServer(rpcConfig); err != nil {
		return nil, err
	}
	local := newView()
	n.view = newClusterView(local, n.client, shardrpc.Options{Epoch: n.epoch, Stale: n.staleMap})
	n.shelf = newShelf(cfg.dirs, n.is(rpc.Storage), local, n, log, n.metrics)
	n.hints = newHinter(n.view, func(ctx context.Context, addr string, ids []placement.ShardID) error {
		return shardrpc.Hint(ctx, n.client, addr, ids)
	}, log)
	n.meta = meta.NewClient(&n.gate)
	if err := n.recall(ctx, self); err != nil {
		return nil, err
	}
	return n, n.makeRoles()
}

// recall reads what the drives remember of the cluster, and refuses drives that must not be mixed.
func (n *node) recall(ctx context.Context, self membership.Node) (err error) {
	if len(n.cfg.dirs) > 0 {
		found := probeAll(n.cfg.dirs)
		cluster, fresh, err := judge(found)
		if err != nil {
			return err
		}
		if n.record, err = newRecordKeeper(n.cfg.dirs, n.log); err != nil {
			return err
		}
		if !fresh {
			n.drivesOf = placement.ClusterID(cluster)
		}
		if f := n.record.get().Founding; f != nil {
			if err := n.checkDrives(*f); err != nil {
				return err
			}
		} else if !fresh {
			if err := n.convert(ctx, self, cluster, found); err != nil {
				return err
			}
		}
	} else {
		n.record = &recordKeeper{log: n.log}
	}
	if n.is(rpc.Meta) {
		n.host = &metaHost{n: n}
		if self.Host, err = n.host.recall(n.cfg.dirs); err != nil {
			return err
		}
	}
	record := n.record.get()
	n.directory = membership.NewDirectory(membership.Hello{
		Node: self, Seeds: n.cfg.join, Founding: record.Founding, K: n.cfg.code.K, M: n.cfg.code.M, Drives: len(n.cfg.dirs),
	}, record.Peers)
	return nil
}

// checkDrives refuses drives of another cluster: what is on them is not for this one, and must not be overwritten.
func (n *node) checkDrives(f membership.Founding) error {
	if n.drivesOf != (placement.ClusterID{}) && n.drivesOf != f.Cluster {
		return fmt.Errorf("the drives in %s belong to cluster %s, this node to %s: name the directories of this cluster, or empty ones",
			strings.Join(n.cfg.dirs, ", "), n.drivesOf, f.Cluster)
	}
	return nil
}

// keepFounding makes durable which cluster this node is of.
func (n *node) keepFounding(f membership.Founding) error {
	if err := n.checkDrives(f); err != nil {
		return err
	}
	return n.record.found(f)
}

// makeRoles makes what the roles of this process need, and has the server answer for them.
func (n *node) makeRoles() (err error) {
	if n.is(rpc.Meta) {
		if err := n.makeMeta(); err != nil {
			return err
		}
	}
	if n.is(rpc.Storage) {
		if err := n.makeStorage(); err != nil {
			return err
		}
	}
	if n.is(rpc.Gateway | rpc.Meta) {
		if err := n.makeBlobs(); err != nil {
			return err
		}
	}
	if n.is(rpc.Gateway) {
		if err := n.makeFront(); err != nil {
			return err
		}
	}
	membership.Handle(n.server, n.directory, n.coordinator)
	if err := n.makeAdmin(); err != nil {
		return err
	}
	n.agent = membership.NewAgent(membership.AgentConfig{
		Caller: n.client, Directory: n.directory, Local: n.coordinator,
		Report: n.report, Apply: n.apply, Refused: n.isRefused, Down: n.client.Forget, Keep: n.keepLater,
		Logger: n.log,
	})
	return nil
}

// makeMeta makes the replica's surroundings and the coordinator.
func (n *node) makeMeta() (err error) {
	n.transport, err = raftnet.New(raftnet.Config{
		Client: n.client, Resolve: n.directory.AddrOf, Logger: n.log, Registerer: n.metrics,
	})
	if err != nil {
		return err
	}
	n.transport.Handle(n.server)
	metarpc.Handle(n.server, n.host.current)
	n.coordinator, err = membership.NewCoordinator(membership.CoordinatorConfig{
		Directory: n.directory, Maps: n.meta, Leads: n.host.leads, Leader: n.host.leader, Confirm: n.host.confirm,
		Code: func(drives int) (k, m int) {
			code := erasure.Default(drives)
			return code.K, code.M
		},
		Policy: membership.Policy{OutAfter: n.cfg.outAfter, KeepDeleted: n.cfg.keep},
		Logger: n.log, Registerer: n.metrics,
	})
	return err
}

// run takes part in the cluster until ctx ends.
func (n *node) run(ctx context.Context, ports listeners, ready func()) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.running.Go(func() {
		if err := served("internal", n.server.Serve(ports.rpc)); err != nil {
			n.log.Error("other nodes are not answered any more", "error", err)
		}
	})
	err := n.join(ctx, background)
	if err == nil {
		n.serving.Store(true)
		ready()
		err = n.serveFront(ctx, ports)
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // told to stop while it started
	}
	n.serving.Store(false)
	stop()
	return errors.Join(err, n.close())
}

// join finds the cluster, opens the drives and waits until the cluster takes this process in.
func (n *node) join(ctx, background context.Context) error {
	f, err := membership.Join(ctx, membership.JoinConfig{Caller: n.client, Directory: n.directory, Keep: n.keepFounding, Logger: n.log})
	if err != nil {
		return err
	}
	consensus, err := metarpc.New(metarpc.Config{
		RPC: n.client, Directory: n.directory, Local: n.localReplica(), Groups: f.Groups, Logger: n.log, Registerer: n.metrics,
	})
	if err != nil {
		return err
	}
	n.gate.open(consensus)
	n.founding.Store(&f)
	// Where the founding was known already, Join kept nothing: drives that were away, or cannot be opened, may have an older
	// record, and alone at the next start they would bring back an id that has voted since.
	if err := n.keepFounding(f); err != nil {
		return err
	}
	if err := n.openDrives(); err != nil {
		return err
	}
	n.start(background)
	return n.awaitMembership(ctx)
}

// openDrives opens the drives that are there and makes new ones of empty directories.
func (n *node) openDrives() error {
	for i, err := range n.shelf.openFound(probeAll(n.cfg.dirs)) {
		if errors.Is(err, drive.ErrInUse) {
			return err
		}
		if b := n.shelf.bays[i]; b.isOpen() {
			n.admitted(b)
		}
	}
	for _, b := range n.shelf.bays {
		if inodeOf(b.dir) == 0 {
			if err := os.MkdirAll(b.dir, 0o700); err != nil {
				n.log.Warn("drive is not there", "dir", b.dir, "error", err)
			}
		}
	}
	n.watch()
	return nil
}

// start begins what runs as long as the process.
func (n *node) start(ctx context.Context) {
	n.watcher.Go(func() { n.monitor(ctx) })
	n.running.Go(func() { n.agent.Run(ctx) })
	n.running.Go(func() { n.hints.run(ctx) })
	n.running.Go(func() { n.refreshMap(ctx) })
	n.running.Go(func() { n.keepKnown(ctx) })
	if n.coordinator != nil {
		n.running.Go(func() { n.coordinator.Run(ctx) })
		n.running.Go(func() { n.removeGarbage(ctx) })
	}
}

// monitor watches the drives and the metadata replica.
func (n *node) monitor(ctx context.Context) {
	ticker := time.NewTicker(monitorInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			n.watch()
		}
	}
}

func (n *node) watch() {
	n.shelf.watch()
	if n.host == nil {
		return
	}
	n.shelf.mu.Lock()
	defer n.shelf.mu.Unlock()
	n.host.tend(n.shelf.openBays())
}

const (
	joinPoll       = 50 * time.Millisecond
	joinTellEvery  = 10 * time.Second
	refusedTooLong = 10 * time.Second // at the start: then it is no leftover of an earlier process
)

// awaitMembership waits until this process has a lease and, but for metadata nodes, the cluster map.
func (n *node) awaitMembership(ctx context.Context) error {
	ticker := time.NewTicker(joinPoll)
	defer ticker.Stop()
	began, told := time.Now(), time.Now()
	for {
		if n.takesPart() {
			return nil
		}
		if reason, _ := n.refused.Load().(string); reason != "" && time.Since(began) > refusedTooLong {
			return fmt.Errorf("the cluster refuses this node: %s", reason)
		}
		if time.Since(told) > joinTellEvery {
			told = time.Now()
			n.log.Warn("waiting for the cluster: start its other nodes", "coordinator", n.directory.Leader(), "haveMap", n.view.Map() != nil)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// takesPart tells whether this process has a lease, and all that its roles need.
func (n *node) takesPart() bool {
	if time.Now().UnixMilli() > n.leased.Load() {
		return false
	}
	return !n.is(rpc.Gateway|rpc.Storage) || n.view.Map() != nil
}

func (n *node) isReady() bool { return n.serving.Load() && n.takesPart() }

// close ends everything in the order of dependence.
func (n *node) close() error {
	var errs []error
	n.watcher.Wait() // else it would begin anew what ends here
	if n.repair != nil {
		n.repair.stopAll()
	}
	if n.blobs != nil {
		errs = append(errs, n.blobs.Close())
	}
	if n.host != nil {
		errs = append(errs, n.host.close())
	}
	errs = append(errs, n.client.Close(), n.server.Close())
	n.running.Wait()
	return errors.Join(append(errs, n.shelf.close())...)
}

// runNode runs a process of a cluster until ctx ends.
func runNode(ctx context.Context, cfg nodeConfig, out, logOut io.Writer) error {
	cfg.tune()
	log := slog.New(slog.NewTextHandler(logOut, &slog.HandlerOptions{Level: cfg.logLevel}))
	ports, err := listen(cfg.serverConfig)
	if err != nil {
		return err
	}
	defer ports.close()
	n, err := newNode(ctx, cfg, log, ports)
	if err != nil {
		return err
	}
	stopAdmin := serveAdmin(ports.admin, adminSite{
		ready: n.isReady, status: n.status, metrics: n.metrics, token: adminToken(cfg.secret), log: log,
	})
	defer stopAdmin()
	return n.run(ctx, ports, func() { n.banner(out, ports) })
}
