package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/internal/pace"
	"kintsugi/placement"
)

// ErrNotCoordinator says that another process decides. Its address is in the text if it is known.
var ErrNotCoordinator = errors.New("this node is not the coordinator")

// ErrNoMap says that the cluster has no map yet: too few of its nodes or drives are there.
var ErrNoMap = errors.New("the cluster has no map yet: start its other nodes")

// MapStore keeps the cluster map where a majority agrees on it.
type MapStore interface {
	// ClusterMap returns the newest map, nil if there is none.
	ClusterMap(ctx context.Context) (*placement.Map, error)
	// SetClusterMap replaces it by one with the next epoch; it fails if that is not the next.
	SetClusterMap(ctx context.Context, m *placement.Map) error
}

// CoordinatorConfig wires a Coordinator.
type CoordinatorConfig struct {
	Directory *Directory
	Maps      MapStore
	// Leads tells whether this process's metadata replica leads group 0, as far as it knows.
	Leads func() bool
	// Leader returns the replica that leads group 0 as far as is known, 0 if none.
	Leader func() uint64
	// Confirm returns nil once a majority agreed, after the call began, that this process's replica leads group 0.
	Confirm func(context.Context) error
	// Code returns the code for a cluster with so many drives, where nobody chose one.
	Code func(drives int) (k, m int)

	Timing Timing
	Policy Policy
	// HoldTime is how long a beat without news waits for some; 0 means 500 ms.
	HoldTime time.Duration
	// FirstQuiet is how long no drive must have come before the first map is made; 0 means 2 s.
	FirstQuiet time.Duration

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
}

// Intervals of a coordinator.
const (
	holdTime       = 500 * time.Millisecond
	pollInterval   = 50 * time.Millisecond  // of Leads
	stepInterval   = 100 * time.Millisecond // of decisions
	confirmPause   = 500 * time.Millisecond // between two confirmations
	commitTimeout  = 5 * time.Second        // of a change of the map
	retryPause     = time.Second            // after one that failed
	completePause  = 3 * time.Second        // between two changes that only close transitions
	frozenTooLong  = time.Second            // between two steps: this process was stopped itself
	ripeSkew       = 5 * time.Second        // that clocks of gateways may differ by
	confirmTimeout = 2 * time.Second
)

// Coordinator decides for the cluster while its process leads metadata group 0, and stands by otherwise. A coordinator that was cut
// off changes nothing and grants nothing: every grant lasts no longer than a lease after a majority confirmed it.
type Coordinator struct {
	cfg     CoordinatorConfig
	metrics *coordinatorMetrics
	editing sync.Mutex // held while the map is changed

	mu     sync.Mutex // guards the following
	term   *term      // nil: another one coordinates
	orders Orders
	news   chan struct{} // closed and replaced when held beats should be answered

	kick chan struct{} // a beat brought something to decide
}

// term is the state of one time as coordinator.
type term struct {
	table     *Table
	m         *placement.Map // nil: the cluster has none yet
	encoded   []byte         // m
	moved     transitions
	began     time.Time
	confirmed time.Time // when the last confirmation was asked for
	stepped   time.Time
	retry     time.Time // the map is not changed before
	completed time.Time
	reload    bool   // somebody has a newer map
	told      uint64 // version of the table that held beats were last answered with
}

// NewCoordinator returns a Coordinator that stands by.
func NewCoordinator(cfg CoordinatorConfig) (*Coordinator, error) {
	cfg.Timing = cfg.Timing.withDefaults()
	cfg.Policy = cfg.Policy.withDefaults()
	cfg.HoldTime = cmp.Or(cfg.HoldTime, holdTime)
	cfg.FirstQuiet = cmp.Or(cfg.FirstQuiet, FirstQuiet)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	metrics, err := newCoordinatorMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	return &Coordinator{cfg: cfg, metrics: metrics, news: make(chan struct{}), kick: make(chan struct{}, 1)}, nil
}

// Run coordinates whenever this process leads, until ctx ends.
func (c *Coordinator) Run(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if c.cfg.Leads() {
			c.lead(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// lead is one time as coordinator.
func (c *Coordinator) lead(ctx context.Context) {
	t, err := c.begin(ctx)
	if err != nil {
		c.cfg.Logger.Info("not the coordinator yet", "error", err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var confirming sync.WaitGroup
	confirming.Go(func() { c.keepConfirming(ctx, t) })
	c.decide(ctx, t)
	c.mu.Lock()
	c.term = nil
	c.tell()
	c.mu.Unlock()
	c.metrics.ended()
	c.cfg.Logger.Info("another node coordinates the cluster from now on")
	cancel()
	confirming.Wait()
}

// begin reads the map and takes everybody whom this process knows for just heard of.
func (c *Coordinator) begin(ctx context.Context) (*term, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	asked := time.Now()
	if err := c.cfg.Confirm(ctx); err != nil {
		return nil, fmt.Errorf("confirm: %w", err)
	}
	m, err := c.cfg.Maps.ClusterMap(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the cluster map: %w", err)
	}
	now := time.Now()
	t := &term{
		table: NewTable(now, c.cfg.Timing, m, c.cfg.Directory.Peers(), rand.Uint64()>>1),
		began: now, confirmed: asked, stepped: now,
	}
	if m != nil {
		t.setMap(now, m)
	}
	c.cfg.Logger.Info("coordinates the cluster from now on", "epoch", t.epoch(), "nodes", len(t.table.nodes))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.term = t
	if o := c.cfg.Directory.Orders(); o.Serial > c.orders.Serial {
		c.orders = o
	}
	return t, nil
}

func (t *term) epoch() uint64 {
	if t.m == nil {
		return 0
	}
	return t.m.Epoch
}

func (t *term) setMap(now time.Time, m *placement.Map) {
	t.m, t.encoded = m, encode(m)
	t.table.SetMap(now, m)
	t.moved.setMap(m)
}

// tell answers the beats that are held. The caller holds mu.
func (c *Coordinator) tell() {
	close(c.news)
	c.news = make(chan struct{})
}

// keepConfirming asks a majority now and then whether this process still leads.
func (c *Coordinator) keepConfirming(ctx context.Context, t *term) {
	for pace.Pause(ctx, confirmPause) == nil {
		if err := c.confirm(ctx, t); err != nil && ctx.Err() == nil {
			c.cfg.Logger.Info("no majority confirms this coordinator", "error", err)
		}
	}
}

func (c *Coordinator) confirm(ctx context.Context, t *term) error {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	asked := time.Now()
	if err := c.cfg.Confirm(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if asked.After(t.confirmed) {
		t.confirmed = asked
	}
	return nil
}

// leading tells whether the term still grants. The caller holds mu.
func (c *Coordinator) leading(now time.Time) bool {
	return c.term != nil && now.Sub(c.term.confirmed) < c.cfg.Timing.Lease
}

// Leading tells whether this process coordinates the cluster.
func (c *Coordinator) Leading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leading(time.Now())
}

// leaderAddr returns the address of the process that leads, or "".
func (c *Coordinator) leaderAddr() string {
	host := c.cfg.Leader()
	if host == 0 {
		return ""
	}
	addr, _ := c.cfg.Directory.AddrOf(host)
	return addr
}

func (c *Coordinator) notCoordinator() error {
	if addr := c.leaderAddr(); addr != "" && addr != c.cfg.Directory.Self().Addr {
		return fmt.Errorf("%w: ask %s", ErrNotCoordinator, addr)
	}
	return ErrNotCoordinator
}
