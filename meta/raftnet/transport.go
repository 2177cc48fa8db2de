package raftnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/internal/rpc"
	"kintsugi/meta/raftgroup"
)

// Config of a Transport.
type Config struct {
	Client *rpc.Client
	// Resolve returns the address of the process that has a host.
	Resolve    func(host uint64) (addr string, ok bool)
	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
}

const (
	// maxQueueMessages and maxQueueBytes bound what waits for one peer; what exceeds it is lost, which raft stands.
	maxQueueMessages = 8192
	maxQueueBytes    = 16 << 20
	messageOverhead  = 200 // bytes, of a message beside its entries' data

	idleAfter   = time.Minute // after which a peer that is sent nothing is forgotten
	sendTimeout = 5 * time.Second
	leaveWait   = 200 * time.Millisecond
	minBackoff  = 50 * time.Millisecond
	maxBackoff  = 250 * time.Millisecond
)

// Transport is the raftgroup.Transport of a process: at most one host at a time registers.
type Transport struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics

	buffers sync.Pool // of *buffer

	mu     sync.Mutex         // guards what follows, and the peers' queues
	local  uint64             // id of the registered host, 0: none
	host   raftgroup.Receiver // that host
	peers  map[uint64]*peer
	start  func(run func(context.Context)) // starts a goroutine that ends with the registration
	stop   func()                          // ends them and waits
	answer func(ctx context.Context, question []byte) ([]byte, error)
}

var _ raftgroup.Transport = (*Transport)(nil)

// New returns a Transport without a host.
func New(cfg Config) (*Transport, error) {
	if cfg.Client == nil || cfg.Resolve == nil {
		return nil, errors.New("raft transport: no client or resolver")
	}
	t := &Transport{cfg: cfg, log: cfg.Logger, peers: map[uint64]*peer{}}
	t.buffers.New = func() any { return &buffer{} }
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	var err error
	t.metrics, err = newMetrics(cfg.Registerer)
	return t, err
}

// Register implements raftgroup.Transport.
func (t *Transport) Register(id uint64, host raftgroup.Receiver) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.local != 0 {
		return fmt.Errorf("replica %d is already there", t.local)
	}
	t.local, t.host = id, host
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.start = func(run func(context.Context)) { running.Go(func() { run(ctx) }) }
	t.stop = func() {
		cancel()
		running.Wait()
	}
	return nil
}

// Unregister implements raftgroup.Transport. The peers are told, so that they need not wait for a timeout.
func (t *Transport) Unregister(id uint64) {
	t.mu.Lock()
	if t.local != id {
		t.mu.Unlock()
		return
	}
	t.local, t.host = 0, nil
	clear(t.peers)
	stop := t.stop
	t.mu.Unlock()
	stop()
}

// Send implements raftgroup.Transport.
func (t *Transport) Send(from, to uint64, batch []raftgroup.Envelope) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.local != from || from == to {
		return raftgroup.ErrUnreachable
	}
	p := t.peers[to]
	if p == nil {
		if _, ok := t.cfg.Resolve(to); !ok {
			return raftgroup.ErrUnreachable
		}
		p = t.newPeer(to)
	}
	if err := p.enqueue(batch); err != nil {
		t.metrics.lost.Add(float64(len(batch)))
		return err
	}
	return nil
}

// newPeer starts the goroutine of a peer. The caller holds mu.
func (t *Transport) newPeer(to uint64) *peer {
	p := &peer{t: t, from: t.local, to: to, host: t.host, wake: make(chan struct{}, 1)}
	t.peers[to] = p
	t.start(p.run)
	return p
}

// receiver returns the local host with that id, or nil.
func (t *Transport) receiver(id uint64) raftgroup.Receiver {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.local != id {
		return nil
	}
	return t.host
}
