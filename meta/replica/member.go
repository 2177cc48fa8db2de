package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kintsugi/meta/raftgroup"
)

// Network carries messages between the hosts of a cluster and, beside them, questions between their processes.
type Network interface {
	raftgroup.Transport
	// Ask has the process that has host answer a question.
	Ask(ctx context.Context, host uint64, question []byte) (answer []byte, err error)
	// Answer has the questions of others answered by f from now on.
	Answer(f func(ctx context.Context, question []byte) (answer []byte, err error))
}

// Peers tells who else there is.
type Peers interface {
	// Alive returns the hosts that are up and may have replicas, those that should become members first. It is empty
	// while nothing is known. A host that is to be drained is left out: it is replaced as a dead one is.
	Alive() []uint64
}

// MemberConfig says what a Member is.
type MemberConfig struct {
	Groups    int // fixed at the birth of the cluster
	Transport Network
	Peers     Peers
	// AbandonAfter is how long a host may be away before it is replaced. 0: 10 s.
	AbandonAfter time.Duration
	// CompareEvery is how often the replicas of a group compare what they hold. 0: 6 h.
	CompareEvery time.Duration
	Logger       *slog.Logger          // nil: discard
	Registerer   prometheus.Registerer // nil: no metrics
}

const (
	defaultAbandonAfter = 10 * time.Second
	defaultCompareEvery = 6 * time.Hour
	// clusterElectionTicks lets an election begin 0.7 to 1.4 s after the leader was heard for the last time.
	clusterElectionTicks = 7
	// doubtWait is how long a host whose log ends in doubt waits for others to show that they can do without it.
	doubtWait = 5 * time.Second
	// handOverWait bounds how long Close waits for others to lead.
	handOverWait = time.Second
)

func (c *MemberConfig) complete() error {
	if c.Groups <= 0 || c.Transport == nil || c.Peers == nil {
		return errors.New("metadata member: no groups, transport or peers")
	}
	c.AbandonAfter = cmp.Or(c.AbandonAfter, defaultAbandonAfter)
	c.CompareEvery = cmp.Or(c.CompareEvery, defaultCompareEvery)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return nil
}

// Member is the one raft host of a process in a cluster. When the host fails it is opened again, or thrown away and made
// anew under another id where the others can do without it.
type Member struct {
	cfg     MemberConfig
	log     *slog.Logger
	drive   Drive
	hosts   settings
	metrics *memberMetrics

	want    atomic.Int64  // voters of every group, 0: as they are
	full    atomic.Bool   // too few voters have room for commands that add data
	wake    chan struct{} // the controller has something to look at
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.RWMutex // guards the following
	host   *host        // nil while there is none
	record record       // of the host, or of the one that was last there

	failed   chan struct{} // closed by fail
	failOnce sync.Once
	err      error // set before failed is closed

	control memberControl // the controller's own
}

// NewHostID returns the id of a host that is to be founded.
func NewHostID() uint64 { return newID() }

// MemberRecord returns the id of the host that a drive directory has; ok is false if there is none. An error
// that is sealed.ErrDamaged says that there is one that cannot be known.
func MemberRecord(dir string) (id uint64, ok bool, err error) {
	r, err := readRecord(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	return r.ID, err == nil, err
}

// Found makes the host id, one of the first voters of a new cluster, on the drive and starts it. The voters are the same
// on each of them. If it was founded there before, it goes on.
func Found(cfg MemberConfig, d Drive, id uint64, voters []uint64) (*Member, error) {
	known, ok, err := MemberRecord(d.Dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("metadata of %s: %w", d.Dir, err)
	case ok && known != id:
		return nil, fmt.Errorf("metadata of %s: replica %d is there, not %d", d.Dir, known, id)
	case !ok:
		if err := makeHostDir(d.Dir, record{ID: id, Voters: voters}); err != nil {
			return nil, fmt.Errorf("metadata of %s: %w", d.Dir, err)
		}
	}
	return OpenMember(cfg, d)
}

// OpenMember starts the host that is on the drive, or a new one, empty, which waits to be made a member. A host that is
// damaged comes later: when it was made anew, or when it turned out that the others need it as it is.
func OpenMember(cfg MemberConfig, d Drive) (*Member, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	m := &Member{
		cfg: cfg, log: cfg.Logger, drive: d, wake: make(chan struct{}, 1), failed: make(chan struct{}),
		hosts: settings{
			groups: cfg.Groups, transport: cfg.Transport, electionTicks: clusterElectionTicks,
			log: cfg.Logger, registerer: cfg.Registerer,
		},
	}
	var err error
	if m.metrics, err = newMemberMetrics(cfg.Registerer); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.control.init()
	if err := m.openFirst(ctx); err != nil {
		cancel()
		m.metrics.close()
		return nil, err
	}
	cfg.Transport.Answer(m.answer)
	m.running.Go(func() { m.run(ctx) })
	return m, nil
}

// openFirst opens what is on the drive when the process starts. What cannot be used is replaced later, when the others
// show that they do not need it.
func (m *Member) openFirst(ctx context.Context) error {
	r, err := readRecord(m.drive.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !m.hasLog():
		return m.renew(ctx)
	case errors.Is(err, fs.ErrNotExist):
		err = errRecordLost
	case err == nil:
		m.record = r
		err = m.reopen(ctx, false)
	}
	if isDamaged(err) {
		m.log.Warn("metadata replica cannot be used as it is", "dir", m.drive.Dir, "error", err)
		m.control.broken(err)
		return nil
	}
	return err
}

// ID returns the id of the host, also while it is not running. It changes when the host is made anew, and is 0 while it is
// not known.
func (m *Member) ID() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.record.ID
}

// current returns the running host, or nil.
func (m *Member) current() *host {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.host
}

// SetWant changes how many voters every group is to have.
func (m *Member) SetWant(voters int) {
	m.want.Store(int64(voters))
	m.poke()
}

func (m *Member) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// fail ends the member: its drive is gone.
func (m *Member) fail(err error) {
	m.failOnce.Do(func() {
		m.err = err
		close(m.failed)
	})
}

// Failed is closed when the member cannot go on, on this drive. It still has to be closed.
func (m *Member) Failed() <-chan struct{} { return m.failed }

// Err returns why the member failed, or nil.
func (m *Member) Err() error {
	select {
	case <-m.failed:
		return m.err
	default:
		return nil
	}
}

// Close hands leadership over, as far as others can take it at once, and stops the host; what it acknowledged is durable.
func (m *Member) Close() error {
	m.stop()
	m.running.Wait()
	m.mu.Lock()
	h := m.host
	m.host = nil
	m.mu.Unlock()
	m.metrics.close()
	if h == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverWait)
	defer cancel()
	h.handOver(ctx, m.cfg.Groups)
	return h.close()
}
