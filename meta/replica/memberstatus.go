package replica

import (
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// GroupStatus is how a metadata group stands, as one host sees it.
type GroupStatus struct {
	Group    int      `json:"group"`
	Leader   uint64   `json:"leader"` // 0: unknown
	Term     uint64   `json:"term"`
	Voters   []uint64 `json:"voters"`
	Learners []uint64 `json:"learners,omitempty"`
	Alive    int      `json:"alive"`   // voters that are up
	Applied  uint64   `json:"applied"` // entries that this host executed
	Last     uint64   `json:"last"`    // entries in its log
}

// Status returns how every group stands. It is empty while there is no host.
func (m *Member) Status(ctx context.Context) []GroupStatus {
	h := m.current()
	if h == nil {
		return nil
	}
	alive := m.cfg.Peers.Alive()
	all := make([]GroupStatus, 0, m.cfg.Groups)
	for g := range m.cfg.Groups {
		st, err := h.raft.Status(ctx, uint32(g))
		if err != nil {
			return nil
		}
		s := GroupStatus{
			Group: g, Leader: st.Leader, Term: st.Term, Applied: st.Applied, Last: st.Last,
			Voters: st.Members.GetVoters(), Learners: st.Members.GetLearners(),
		}
		for _, id := range s.Voters {
			if id == h.ID || slices.Contains(alive, id) {
				s.Alive++
			}
		}
		all = append(all, s)
	}
	return all
}

// memberMetrics are the figures of a Member, beside those of its host.
type memberMetrics struct {
	registerer                               prometheus.Registerer // nil: nobody looks
	rebuilds, compared, different, transfers prometheus.Counter
}

func newMemberMetrics(r prometheus.Registerer) (*memberMetrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "kintsugi_meta_" + name, Help: help})
	}
	m := &memberMetrics{
		registerer: r,
		rebuilds:   counter("replica_rebuilds_total", "Times that the replica of this process was thrown away and made anew."),
		compared:   counter("digest_comparisons_total", "Comparisons of the replicas of a group that this process led."),
		different:  counter("digest_differences_total", "Replicas that were found to differ from the majority, or groups without one."),
		transfers:  counter("leader_transfers_total", "Groups given away to be led by another replica."),
	}
	if r == nil {
		return m, nil
	}
	all := m.all()
	for i, c := range all {
		if err := r.Register(c); err != nil {
			for _, done := range all[:i] {
				r.Unregister(done)
			}
			return nil, err
		}
	}
	return m, nil
}

func (m *memberMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.rebuilds, m.compared, m.different, m.transfers}
}

func (m *memberMetrics) close() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.all() {
		m.registerer.Unregister(c)
	}
}
