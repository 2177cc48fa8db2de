package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state"
)

// Questions between the processes of a cluster that have hosts, and their answers: CBOR with integer keys. A reader
// ignores keys that it does not know, and takes those that it misses as zero.
const questionFormat = 1

// questionKind tells what is asked. The numbers are on the wire.
type questionKind uint8

const (
	askReport  questionKind = 1 // report
	askConfirm questionKind = 2 // report, whose Leads a quorum has just confirmed
	askDigest  questionKind = 3 // digestAnswer
)

// question is what one process asks another.
type question struct {
	Format uint8        `cbor:"1,keyasint"`
	Kind   questionKind `cbor:"2,keyasint"`
	Host   uint64       `cbor:"3,keyasint"` // that is meant
	Group  uint32       `cbor:"4,keyasint,omitempty"`
	Index  uint64       `cbor:"5,keyasint,omitempty"` // of the command that asked for digests
	// Majority is the digest that most voters have; a host with another is not to be used any more.
	Majority *uint64 `cbor:"6,keyasint,omitempty"`
}

// report is how a host stands.
type report struct {
	Format uint8    `cbor:"1,keyasint"`
	Host   uint64   `cbor:"2,keyasint"` // 0: none is running
	Room   bool     `cbor:"3,keyasint,omitempty"`
	Leads  []uint32 `cbor:"4,keyasint,omitempty"`
	Limps  bool     `cbor:"5,keyasint,omitempty"` // its drive is slow: others should lead
}

// digestAnswer is the digest of a group.
type digestAnswer struct {
	Format uint8  `cbor:"1,keyasint"`
	Host   uint64 `cbor:"2,keyasint"`
	Open   bool   `cbor:"3,keyasint,omitempty"` // ask again later
	Known  bool   `cbor:"4,keyasint,omitempty"` // Sum is
	Sum    uint64 `cbor:"5,keyasint,omitempty"`
}

const (
	reportEvery = time.Second
	askTimeout  = 700 * time.Millisecond
)

var errFormat = errors.New("unknown format of a question between metadata replicas")

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	err := meta.NewCodec().AppendTo(&b, v)
	return b.Bytes(), err
}

// answer answers the question of another process.
func (m *Member) answer(ctx context.Context, p []byte) ([]byte, error) {
	var q question
	if err := meta.NewCodec().Decode(p, &q); err != nil || q.Format == 0 {
		return nil, errors.Join(errFormat, err)
	}
	h := m.current()
	if h == nil || h.ID != q.Host {
		return encode(report{Format: questionFormat})
	}
	switch q.Kind {
	case askReport, askConfirm:
		return encode(m.report(ctx, h, q.Kind == askConfirm))
	case askDigest:
		return encode(m.digestOf(h, q))
	}
	return nil, fmt.Errorf("question %d: %w", q.Kind, errFormat)
}

func (m *Member) report(ctx context.Context, h *host, confirm bool) report {
	r := report{Format: questionFormat, Host: h.ID, Room: h.hasRoom(), Limps: h.raft.Limps()}
	for g := range uint32(m.cfg.Groups) {
		if h.raft.Leader(g) == h.ID && (!confirm || h.raft.ReadBarrier(ctx, g) == nil) {
			r.Leads = append(r.Leads, g)
		}
	}
	return r
}

func (m *Member) digestOf(h *host, q question) digestAnswer {
	a := digestAnswer{Format: questionFormat, Host: h.ID}
	sum, err := h.machine.Digest(q.Group, q.Index)
	switch {
	case errors.Is(err, state.ErrDigestOpen):
		a.Open = true
	case err == nil:
		a.Known, a.Sum = true, sum
	}
	if a.Known && q.Majority != nil && *q.Majority != sum {
		m.condemn(h)
	}
	return a
}

// ask puts a question to a host, which may be this one, and decodes the answer into v.
func (m *Member) ask(ctx context.Context, host uint64, q question, v any) error {
	q.Format, q.Host = questionFormat, host
	p, err := encode(q)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if host == m.ID() {
		p, err = m.answer(ctx, p)
	} else {
		p, err = m.cfg.Transport.Ask(ctx, host, p)
	}
	if err != nil {
		return err
	}
	return meta.NewCodec().Decode(p, v)
}

// reportsOf asks hosts side by side and returns what came.
func (m *Member) reportsOf(ctx context.Context, hosts []uint64, kind questionKind) map[uint64]report {
	reports := map[uint64]report{}
	var mu sync.Mutex // guards reports
	var asking sync.WaitGroup
	for _, id := range hosts {
		asking.Go(func() {
			var r report
			if err := m.ask(ctx, id, question{Kind: kind}, &r); err == nil && r.Host == id {
				mu.Lock()
				defer mu.Unlock()
				reports[id] = r
			}
		})
	}
	asking.Wait()
	return reports
}

// askReports brings the reports of the other members up to date.
func (m *Member) askReports(ctx context.Context, h *host, known map[uint64]bool) {
	c := &m.control
	if time.Since(c.asked) < reportEvery {
		return
	}
	c.asked = time.Now()
	var hosts []uint64
	for id := range known {
		if id != h.ID && c.missed[id].IsZero() {
			hosts = append(hosts, id)
		}
	}
	c.reports = m.reportsOf(ctx, hosts, askReport)
}

// servedElsewhere tells whether every group has just been served by a quorum without this host.
func (m *Member) servedElsewhere(ctx context.Context) bool {
	self := m.ID()
	hosts := slices.DeleteFunc(slices.Clone(m.cfg.Peers.Alive()), func(id uint64) bool { return id == self })
	led := map[uint32]bool{}
	for _, r := range m.reportsOf(ctx, hosts, askConfirm) {
		for _, g := range r.Leads {
			led[g] = true
		}
	}
	for g := range uint32(m.cfg.Groups) {
		if !led[g] {
			return false
		}
	}
	return true
}

// watchRoom lets commands that add data be refused while fewer than a quorum of the voters have room for them: deletes must
// still go through.
func (m *Member) watchRoom(h *host, led []*raftgroup.Status) {
	h.roomy.Store(h.hasRoom())
	full := false
	for _, st := range led {
		if st != nil && !enoughRoom(st.Members.GetVoters(), h.ID, h.roomy.Load(), m.control.reports) {
			full = true
		}
	}
	if m.full.Swap(full) != full {
		m.log.Warn("room for metadata", "refusingWrites", full)
	}
}

// enoughRoom tells whether most of the voters that told have room.
func enoughRoom(voters []uint64, self uint64, own bool, reports map[uint64]report) bool {
	told, roomy := 0, 0
	for _, id := range voters {
		r, ok := reports[id]
		if id == self {
			r, ok = report{Room: own}, true
		}
		if ok {
			told++
		}
		if ok && r.Room {
			roomy++
		}
	}
	return 2*roomy > told
}
