package metarpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/internal/pace"
	"kintsugi/internal/plant"
	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
)

// Directory tells where the replicas are. It may be behind.
type Directory interface {
	// AddrOf returns the address of the process that has a replica.
	AddrOf(host uint64) (string, bool)
	// Hosts returns the replicas that are thought to be up.
	Hosts() []uint64
}

// Config of a Client.
type Config struct {
	RPC       *rpc.Client
	Directory Directory
	// Local returns the replica in this process, nil while there is none. A nil function: never one.
	// It is asked without a socket. If it has a method ID() uint64, that is its id, else Self is.
	Local  func() Local
	Self   uint64
	Groups int
	// Patience is how long a call looks for an answer, whatever its context allows. 0 means 4.5 s: a
	// client who waits for 5 s is then told that metadata is unavailable.
	Patience   time.Duration
	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
}

// Times of a call. An answer takes milliseconds; a replica that is silent for longer has stopped, or its drive has, and
// the others elect a leader meanwhile.
const (
	defaultPatience = 4500 * time.Millisecond
	leaderTimeout   = 700 * time.Millisecond // of the first attempt; half as long again after each that ran out
	replicaTimeout  = 250 * time.Millisecond // of an eventual read, likewise: any other replica will do
	minPause        = time.Millisecond       // between attempts, growing
	maxPause        = 50 * time.Millisecond
)

var errNoHosts = errors.New("no metadata replica is known")

// caller is the part of an rpc.Client that is needed.
type caller interface {
	Do(ctx context.Context, addr string, call *rpc.Call) (rpc.Reply, error)
}

// Client is a meta.Consensus whose groups are in other processes, or in this one. It is safe for concurrent use.
type Client struct {
	cfg     Config
	rpc     caller
	log     *slog.Logger
	metrics *metrics
	leaders []atomic.Uint64 // by group: the host that led when last heard of, 0 for none
	health  health
}

// New returns a Client.
func New(cfg Config) (*Client, error) {
	if cfg.RPC == nil || cfg.Directory == nil || cfg.Groups < 1 {
		return nil, errors.New("metarpc: RPC, Directory and Groups are needed")
	}
	return newClient(cfg, cfg.RPC)
}

func newClient(cfg Config, c caller) (*Client, error) {
	cfg.Patience = cmp.Or(cfg.Patience, defaultPatience)
	if cfg.Local == nil {
		cfg.Local = func() Local { return nil }
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("metarpc: %w", err)
	}
	return &Client{
		cfg: cfg, rpc: c, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)), metrics: m,
		leaders: make([]atomic.Uint64, cfg.Groups), health: health{hosts: make(map[uint64]*hostHealth)},
	}, nil
}

// Groups implements meta.Consensus.
func (c *Client) Groups() int { return c.cfg.Groups }

// Propose implements meta.Consensus. A command whose outcome is not known is sent again: its request id lets
// the state machine tell a repetition. If that is refused, the error is a meta.ErrUncertain, too.
func (c *Client) Propose(ctx context.Context, group int, cmd []byte) (any, error) {
	return c.run(ctx, &request{kind: proposal, group: group, cmd: cmd})
}

// Query implements meta.Consensus.
func (c *Client) Query(ctx context.Context, group int, q any, consistency meta.Consistency) (any, error) {
	if plant.Is(plant.StaleRead) {
		consistency = meta.Eventual
	}
	r := &request{kind: read, group: group, query: q, consistency: consistency}
	if consistency == meta.Eventual {
		r.kind = eventualRead
	}
	return c.run(ctx, r)
}

// kind of a request.
type kind uint8

const (
	proposal kind = iota
	read
	eventualRead
)

// request is a call of the Client's user.
type request struct {
	kind        kind
	group       int
	cmd         []byte // of a proposal
	query       any
	consistency meta.Consistency
	alone       bool // no replica that knows a leader has answered
}

func (r *request) header() callHeader {
	return callHeader{group: r.group, consistency: r.consistency, alone: r.alone}
}

// call encodes the request.
func (r *request) call() (*rpc.Call, error) {
	if r.kind == proposal {
		head := r.header().appendTo(make([]byte, 0, callHeaderSize))
		return &rpc.Call{Method: MethodPropose, Head: head, Body: r.cmd, Idempotent: true}, nil
	}
	head, err := encodeQuery(r.header(), r.query)
	return &rpc.Call{Method: MethodQuery, Head: head, Idempotent: true}, err
}

// run asks one replica after the other until one knows the answer or patience ends.
func (c *Client) run(ctx context.Context, r *request) (any, error) {
	if r.group < 0 || r.group >= len(c.leaders) {
		return nil, fmt.Errorf("group %d of %d: %w", r.group, len(c.leaders), meta.ErrFormat)
	}
	began := time.Now()
	end := began.Add(c.cfg.Patience)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(end) {
		end = deadline
	}
	s := search{client: c, request: r, turn: rand.Uint64()}
	for {
		host, ok := s.next(time.Now())
		var result any
		err := errNoHosts
		if ok {
			result, err = c.attempt(ctx, r, host, s.timeout(), end)
		}
		if isFinal(err) && !s.doubts(host, err) {
			c.metrics.observe(r.kind, began, err)
			if err != nil && s.uncertain {
				err = fmt.Errorf("%w: %w", err, meta.ErrUncertain)
			}
			return result, err
		}
		if err := c.rest(ctx, s.failed(host, err), end); err != nil {
			c.metrics.observe(r.kind, began, err)
			return nil, fmt.Errorf("%w: group %d: %v, last: %v", meta.ErrUnavailable, r.group, err, s.last) // the cause is no answer
		}
	}
}

var errPatience = errors.New("nobody answered in time")

// rest waits between attempts.
func (c *Client) rest(ctx context.Context, pause time.Duration, end time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if time.Until(end) <= pause {
		return errPatience
	}
	return pace.Pause(ctx, pause)
}

// isFinal tells whether err, or none, is the answer to the call: every replica that can answer would give it. The others are
// failures of one replica or of the way to it.
func isFinal(err error) bool {
	if err == nil {
		return true
	}
	var marker *meta.MarkerError
	if errors.As(err, &marker) || errors.Is(err, raftgroup.ErrTooLarge) {
		return true
	}
	_, known := meta.ErrorCode(err)
	return known && !errors.Is(err, meta.ErrUnavailable) && !errors.Is(err, meta.ErrCorrupt)
}

// attempt asks one replica, which has as long as timeout but not beyond end.
func (c *Client) attempt(ctx context.Context, r *request, host uint64, timeout time.Duration, end time.Time) (any, error) {
	began := time.Now()
	deadline := began.Add(timeout)
	if end.Before(deadline) {
		deadline = end
	}
	attempt, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	result, err := c.ask(attempt, r, host)
	if err != nil && ctx.Err() == nil && attempt.Err() != nil && !isFinal(err) {
		if err = errPatience; deadline != end {
			err = errSilent
		}
	}
	if isFinal(err) {
		c.health.answered(host, time.Since(began))
		if r.kind != eventualRead && c.leaders[r.group].Load() != host {
			c.leaders[r.group].Store(host)
		}
	}
	return result, err
}

var errSilent = errors.New("metadata replica did not answer in time")

func (c *Client) ask(ctx context.Context, r *request, host uint64) (any, error) {
	if local := c.cfg.Local(); local != nil && host == c.self(local) {
		result, err := askLocal(ctx, r, local)
		if errors.Is(err, raftgroup.ErrTooLarge) {
			err = fmt.Errorf("%w: %w", meta.ErrTooLarge, err)
		}
		return result, err
	}
	addr, ok := c.cfg.Directory.AddrOf(host)
	if !ok {
		return nil, fmt.Errorf("%w: no address", rpc.ErrUnreachable)
	}
	call, err := r.call()
	if err != nil {
		return nil, err
	}
	reply, err := c.rpc.Do(ctx, addr, call)
	var status *rpc.StatusError
	if errors.As(err, &status) {
		return nil, faultIn(status).err()
	}
	if err != nil {
		return nil, err
	}
	result, err := decodeResult(reply.Head, reply.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errReplica, err) // another one may be of our version
	}
	return result, nil
}

func askLocal(ctx context.Context, r *request, local Local) (any, error) {
	if r.kind == proposal {
		return local.Propose(ctx, r.group, r.cmd)
	}
	return ask(ctx, local, r.header(), r.query)
}

// self returns the id of the replica in this process.
func (c *Client) self(local Local) uint64 {
	if l, ok := local.(interface{ ID() uint64 }); ok {
		return l.ID()
	}
	return c.cfg.Self
}
