package membership

import (
	"context"
	"fmt"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/placement"
)

// Handle adds the methods of this package: a Hello is answered by every process, a Beat only by one with a
// coordinator, which may be nil.
func Handle(s *rpc.Server, d *Directory, c *Coordinator) {
	s.Handle(MethodHello, rpc.Gateway|rpc.Storage|rpc.Meta|rpc.Admin, func(_ context.Context, r *rpc.Request) error {
		var h Hello
		if err := decode(r.Head, &h); err != nil {
			return status(codeFormat, err)
		}
		return r.Reply(encode(d.welcome(r.From, h)), nil)
	})
	if c == nil {
		return
	}
	s.Handle(MethodBeat, rpc.Gateway|rpc.Storage|rpc.Meta, func(ctx context.Context, r *rpc.Request) error {
		if !c.Leading() { // while a coordinator is looked for, many ask
			a, err := c.elsewhere()
			if err != nil {
				return err
			}
			return r.Reply(encode(a), nil)
		}
		b := new(Beat)
		if err := decode(r.Head, b); err != nil {
			return status(codeFormat, err)
		}
		if b.Node.Name != r.From.Node || b.Node.Incarnation != r.From.Incarnation || b.Node.Roles&^r.From.Roles != 0 {
			return status(codeFormat, fmt.Errorf("%w: a beat of another node", ErrFormat))
		}
		a, err := c.Beat(ctx, b)
		if err != nil {
			return err
		}
		return r.Reply(encode(a), nil)
	})
}

// welcome answers a hello. Where a metadata node is, it may have to tell those who do not look for it.
func (d *Directory) welcome(from rpc.Identity, h Hello) Hello {
	if h.Node.Name == from.Node && h.Node.Incarnation == from.Incarnation && h.Node.Host != 0 && from.Roles&rpc.Meta != 0 {
		d.Learn(h)
	}
	return d.Hello()
}

// Beat takes a heartbeat and answers it, after up to HoldTime if there is no news. It keeps no reference to b.
func (c *Coordinator) Beat(ctx context.Context, b *Beat) (*Answer, error) {
	now := time.Now()
	c.mu.Lock()
	if !c.leading(now) {
		c.mu.Unlock()
		return c.elsewhere()
	}
	t := c.term
	if a := c.refusal(b); a != nil {
		c.mu.Unlock()
		c.metrics.refused.Inc()
		return a, nil
	}
	heard := t.table.Beat(now, b)
	t.moved.report(b.Clean)
	t.reload = t.reload || b.Epoch > t.epoch()
	if b.Orders.Serial > c.orders.Serial {
		c.orders = b.Orders
		c.tell()
	}
	c.tellOf(t)
	c.mu.Unlock()
	if heard.Refused != "" {
		c.metrics.refused.Inc()
		return &Answer{Format: Format, Refused: heard.Refused}, nil
	}
	return c.hold(ctx, t, b, heard, now)
}

// refusal answers those who are in the wrong cluster. The caller holds mu.
func (c *Coordinator) refusal(b *Beat) *Answer {
	f, ok := c.cfg.Directory.Founding()
	if !ok || b.Cluster == (placement.ClusterID{}) || b.Cluster == f.Cluster {
		return nil
	}
	return &Answer{Format: Format, Refused: fmt.Sprintf("this is cluster %s, the node belongs to %s", f.Cluster, b.Cluster)}
}

// elsewhere answers a beat that came to the wrong node.
func (c *Coordinator) elsewhere() (*Answer, error) {
	addr := c.leaderAddr()
	if addr == "" || addr == c.cfg.Directory.Self().Addr {
		return nil, status(codeNoCoordinator, ErrNotCoordinator)
	}
	return &Answer{Format: Format, Leader: addr}, nil
}

// tellOf answers held beats if the table has changed, and has the change considered. The caller holds mu.
func (c *Coordinator) tellOf(t *term) {
	if v := t.table.Version(); v != t.told {
		t.told = v
		c.tell()
		select {
		case c.kick <- struct{}{}:
		default:
		}
	}
}

// hold answers a beat once there is news for its node, or after HoldTime.
func (c *Coordinator) hold(ctx context.Context, t *term, b *Beat, heard Heard, since time.Time) (*Answer, error) {
	timer := time.NewTimer(c.cfg.HoldTime)
	defer timer.Stop()
	over := b.Leaving
	for {
		c.mu.Lock()
		now := time.Now()
		if c.term != t || !c.leading(now) {
			c.mu.Unlock()
			return c.elsewhere()
		}
		if over || c.hasNews(t, b) {
			a := c.answer(t, b, since)
			a.Twice = heard.Twice
			c.mu.Unlock()
			return a, nil
		}
		news := c.news
		c.mu.Unlock()
		select {
		case <-news:
		case <-timer.C:
			over = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// hasNews tells whether the node lacks something. The caller holds mu.
func (c *Coordinator) hasNews(t *term, b *Beat) bool {
	return b.Epoch < t.epoch() || b.Table != t.table.Version() || b.Orders.Serial < c.orders.Serial
}

// answer makes the answer to a beat that came at since. A grant ends a while after the last confirmation
// at the latest, so that a coordinator that was replaced has granted nothing beyond what its
// successor waits for. The caller holds mu.
func (c *Coordinator) answer(t *term, b *Beat, since time.Time) *Answer {
	a := &Answer{Format: Format, Epoch: t.epoch(), Table: t.table.Version(), Orders: c.orders, Ripe: c.ripe(t, time.Now())}
	a.Founding, _ = c.cfg.Directory.Founding()
	stale := max(0, since.Sub(t.confirmed))
	a.Lease = max(0, c.cfg.Timing.Grant-stale).Milliseconds()
	if b.Leaving {
		a.Lease = 0
	}
	if b.Epoch < t.epoch() {
		a.Map = t.encoded
	}
	if b.Table != t.table.Version() {
		a.Peers = t.table.Peers()
	}
	return a
}

// ripe returns the time before which no read under way began, in Unix milliseconds; 0 while it is not known. What was queued for
// deletion before it nobody reads any more. The caller holds mu.
func (c *Coordinator) ripe(t *term, now time.Time) int64 {
	if now.Sub(t.began) < c.cfg.Timing.Lease {
		return 0 // a gateway may not have spoken yet
	}
	oldest, ok := t.table.OldestRead(now)
	if !ok {
		return 0
	}
	keep := max(c.cfg.Policy.KeepDeleted, c.cfg.Timing.Grant+ripeSkew)
	return min(oldest-ripeSkew.Milliseconds(), now.Add(-keep).UnixMilli())
}
