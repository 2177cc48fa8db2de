package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/meta/membership"
	"kintsugi/placement"
	"kintsugi/storagenode"
)

// Coordinator is what the server needs of a membership.Coordinator.
type Coordinator interface {
	// Leading tells whether this process coordinates the cluster. If not, the others fail.
	Leading() bool
	// Status lists every node that was heard of.
	Status() ([]membership.NodeStatus, error)
	// Change commits what edit makes of the newest map.
	Change(ctx context.Context, edit func(*placement.Map) (*placement.Map, error)) (*placement.Map, error)
	// SetOrders makes what edit does to the newest orders the newest.
	SetOrders(edit func(*membership.Orders)) (membership.Orders, error)
}

// Directory is what the server needs of a membership.Directory.
type Directory interface {
	// Leader returns the address of the process that coordinates, "" if none is known.
	Leader() string
	// Peers are the nodes as the coordinator last told.
	Peers() []membership.Peer
	// Self is this process, which is none of the peers.
	Self() membership.Node
	// Orders are the newest.
	Orders() membership.Orders
}

// MetaClient is what the server needs of a meta.Client.
type MetaClient interface {
	Object(context.Context, meta.GetObject) (meta.Version, error)
	Bucket(ctx context.Context, name string, c meta.Consistency) (meta.Bucket, error)
	SetConsistency(ctx context.Context, bucket string, c meta.Consistency) error
}

// Config of a Server.
type Config struct {
	Coordinator Coordinator // nil where there is no metadata
	Directory   Directory
	Cluster     storagenode.Cluster // the newest map; the drives that are up, near and far
	Meta        MetaClient
	Groups      func() []GroupFacts                                   // of the metadata, as the local replica knows them; nil: no replica here
	Redundancy  func(context.Context) (storagenode.Redundancy, error) // nil: it is not counted
	Logger      *slog.Logger                                          // nil: discard
}

// Server answers operators.
type Server struct {
	cfg Config
	log *slog.Logger
}

const (
	changeTimeout = 20 * time.Second
	// countTimeout bounds the count of all chunks; a status without it is better than none.
	countTimeout = 15 * time.Second
)

// NewServer returns a Server.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Directory == nil || cfg.Cluster == nil || cfg.Meta == nil {
		return nil, errors.New("admin: incomplete config")
	}
	return &Server{cfg: cfg, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))}, nil
}

// Handle adds the methods to r.
func (s *Server) Handle(r *rpc.Server) {
	r.Handle(MethodWho, rpc.Admin, method(s.who))
	r.Handle(MethodStatus, rpc.Admin, method(s.status))
	r.Handle(MethodPlan, rpc.Admin, method(leading(s, s.plan)))
	r.Handle(MethodChange, rpc.Admin, method(leading(s, s.change)))
	r.Handle(MethodOrder, rpc.Admin, method(leading(s, s.order)))
	r.Handle(MethodWhy, rpc.Admin, method(leading(s, s.why)))
	r.Handle(MethodConsistency, rpc.Admin, method(s.consistency))
}

// versioned is a request: each embeds Request.
type versioned[R any] interface {
	*R
	version() int
}

// method makes a handler of a function from request to answer.
func method[R, A any, P versioned[R]](f func(context.Context, R) (A, error)) rpc.Handler {
	return func(ctx context.Context, r *rpc.Request) error {
		var in R
		if err := decodeRequest(r.Head, P(&in)); err != nil {
			return statusError(err)
		}
		out, err := f(ctx, in)
		if err != nil {
			return statusError(err)
		}
		body, err := json.Marshal(out)
		if err != nil {
			return err
		}
		return r.Reply(nil, body)
	}
}

// elsewhereError sends the caller to the coordinator.
type elsewhereError struct{ addr string }

func (e *elsewhereError) Error() string { return "another process coordinates: " + e.addr }

// leading lets f run in the coordinator alone.
func leading[R, A any](s *Server, f func(context.Context, R) (A, error)) func(context.Context, R) (A, error) {
	return func(ctx context.Context, r R) (A, error) {
		if !s.leads() {
			var none A
			return none, &elsewhereError{s.cfg.Directory.Leader()}
		}
		return f(ctx, r)
	}
}

// statusError makes an error one that the other end can tell from others.
func statusError(err error) error {
	var elsewhere *elsewhereError
	code := uint16(codeUnavailable)
	text := err.Error()
	switch {
	case errors.As(err, &elsewhere):
		code, text = codeElsewhere, elsewhere.addr
	case errors.Is(err, ErrRefused):
		code = codeRefused
	case errors.Is(err, ErrFormat):
		code = codeFormat
	}
	return &rpc.StatusError{Code: code, Detail: []byte(text)}
}

// leads tells whether this process coordinates.
func (s *Server) leads() bool { return s.cfg.Coordinator != nil && s.cfg.Coordinator.Leading() }

func (s *Server) who(context.Context, Request) (Who, error) {
	w := Who{Format: Format, Node: s.cfg.Directory.Self().Name, Coordinates: s.leads(), Coordinator: s.cfg.Directory.Leader(), Peers: []string{}}
	for _, p := range s.cfg.Directory.Peers() {
		w.Peers = append(w.Peers, p.Node.Addr)
	}
	return w, nil
}

// facts gathers what this process knows, but not the count of chunks. silent are the addresses of nodes
// that are known not to answer, for where nobody coordinates.
func (s *Server) facts(silent []string) Facts {
	f := Facts{Now: time.Now(), Map: s.cfg.Cluster.Map(), Orders: s.cfg.Directory.Orders(), Node: s.cfg.Directory.Self().Name}
	if s.leads() {
		if members, err := s.cfg.Coordinator.Status(); err == nil {
			f.Members, f.Coordinated = members, true
		}
	}
	if !f.Coordinated {
		f.Members = s.hearsay(f.Now, silent)
	}
	if s.cfg.Groups != nil {
		f.Groups = s.cfg.Groups()
	}
	return f
}

// hearsay makes nodes of what the coordinator told last.
func (s *Server) hearsay(now time.Time, silent []string) []membership.NodeStatus {
	self := s.cfg.Directory.Self()
	peers := append([]membership.Peer{{Node: self, Up: true, Drives: s.ownDrives(self.Name)}}, s.cfg.Directory.Peers()...)
	var nodes []membership.NodeStatus
	for i, p := range peers {
		if i > 0 && p.Node.Name == self.Name {
			continue
		}
		n := membership.NodeStatus{Beat: membership.Beat{Node: p.Node}, Up: p.Up && !slices.Contains(silent, p.Node.Addr), Since: now}
		for _, id := range p.Drives {
			n.Beat.Drives = append(n.Beat.Drives, membership.DriveReport{ID: id})
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// ownDrives are those of the map that this process has.
func (s *Server) ownDrives(node string) []placement.DriveID {
	m := s.cfg.Cluster.Map()
	if m == nil {
		return nil
	}
	var own []placement.DriveID
	for _, d := range m.Drives {
		if d.Node == node && s.cfg.Cluster.Peer(d.ID) != nil {
			own = append(own, d.ID)
		}
	}
	return own
}

// status is also answered by a process that knows of no coordinator: it is what there is to know then.
func (s *Server) status(ctx context.Context, r StatusRequest) (Status, error) {
	f := s.facts(r.Silent)
	if addr := s.cfg.Directory.Leader(); !f.Coordinated && addr != "" && !r.Alone {
		return Status{}, &elsewhereError{addr}
	}
	if r.Chunks && f.Coordinated && s.cfg.Redundancy != nil && f.Map != nil {
		ctx, cancel := context.WithTimeout(ctx, countTimeout)
		defer cancel()
		if count, err := s.cfg.Redundancy(ctx); err == nil {
			f.Redundancy = &count
		} else {
			s.log.Warn("redundancy cannot be counted", slog.Any("error", err))
		}
	}
	return Assess(f), nil
}

func (s *Server) plan(ctx context.Context, r ChangeRequest) (Plan, error) {
	f := s.facts(nil)
	next, err := r.Change.Next(&f)
	if err != nil {
		return Plan{}, err
	}
	return MakePlan(&f, r.Change, next), nil
}

// change commits what plan would say of the map that is changed.
func (s *Server) change(ctx context.Context, r ChangeRequest) (Plan, error) {
	if r.Change.Kind == AddNode {
		return Plan{}, refuse("nodes add themselves: start one with --join and the cluster's secret")
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	var plan Plan
	_, err := s.cfg.Coordinator.Change(ctx, func(m *placement.Map) (*placement.Map, error) {
		f := s.facts(nil)
		f.Map = m
		next, err := r.Change.Next(&f)
		if err != nil {
			return nil, err
		}
		plan = MakePlan(&f, r.Change, next)
		return next, nil
	})
	if errors.Is(err, ErrRefused) || errors.Is(err, ErrFormat) {
		return Plan{}, err
	}
	if err != nil {
		return Plan{}, fmt.Errorf("%w: the cluster map was not changed: %w", ErrUnavailable, err)
	}
	s.log.Info("an operator changed the cluster map", slog.String("change", r.Change.Kind), slog.String("target", r.Change.Target), slog.Int("moves", plan.Moves))
	plan.Applied = true
	return plan, nil
}

func (s *Server) order(_ context.Context, r OrderRequest) (Order, error) {
	if r.RepairLimit != nil && *r.RepairLimit < 0 {
		return Order{}, refuse("a limit below 0")
	}
	o, err := s.cfg.Coordinator.SetOrders(func(o *membership.Orders) {
		if r.RepairLimit != nil {
			o.RepairLimit = *r.RepairLimit
		}
		if r.Rebuild {
			o.RepairSerial++
		}
		if r.Scrub {
			o.ScrubSerial++
		}
	})
	if err != nil {
		return Order{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return Order{Format: Format, Serial: o.Serial, RepairLimit: o.RepairLimit, RepairSerial: o.RepairSerial, ScrubSerial: o.ScrubSerial}, nil
}
