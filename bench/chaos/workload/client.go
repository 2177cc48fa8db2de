package workload

import (
	"context"
	"math/rand/v2"
	"time"

	"kintsugi/bench/chaos/history"
)

// client does one operation at a time. It belongs to one goroutine.
type client struct {
	load   *Load
	number uint16
	rand   *rand.Rand
	check  *verifier
	final  bool // what it does now belongs to the last sweep
}

// client returns a client of that number. The same seed and number draw the same.
func (l *Load) client(number int) *client {
	return &client{load: l, number: uint16(number), rand: rand.New(rand.NewPCG(l.config.Seed, uint64(number))), check: &verifier{}}
}

// step does one operation of the mix.
func (c *client) step(ctx context.Context) {
	kind := c.load.config.Mix.kind(c.rand)
	if kind == history.List {
		c.list(ctx, history.PrefixOf(c.rand.Int32N(history.Prefixes)))
		return
	}
	slot := c.rand.IntN(len(c.load.slots))
	if c.rand.IntN(10) < hotShare {
		slot = c.rand.IntN(min(hotSlots, len(c.load.slots)))
	}
	key := c.load.slots[slot].Load()
	switch {
	case kind.Reads():
		c.get(ctx, kind, key)
	case kind == history.Multipart:
		c.multipart(ctx, key)
	case kind == history.Abort:
		c.completeOrAbort(ctx, key)
	case kind == history.Delete:
		c.remove(ctx, key)
	default:
		c.put(ctx, kind, key)
	}
	if ops, doubts := c.load.book.Burden(key); doubts >= maxKeyDoubts || ops >= maxKeyOps {
		c.load.slots[slot].CompareAndSwap(key, c.load.book.NewKey())
	}
}

// begin starts an operation on some endpoint that is not avoided.
func (c *client) begin(ctx context.Context, kind history.Kind, key int32, sizeBytes int64) (*call, context.Context) {
	l := c.load
	s := l.stores[c.rand.IntN(len(l.stores))]
	if now := time.Now().UnixNano(); s.dead.Load() > now {
		for _, other := range l.stores {
			if other.dead.Load() <= now {
				s = other
				break
			}
		}
	}
	limit := l.config.Timeout + time.Duration(sizeBytes>>20)*time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	l.inUse.Add(1)
	return &call{client: c, store: s, cancel: cancel, op: history.Op{
		Begin: l.log.Now(), Key: key, Kind: kind, Client: c.number, Endpoint: s.number, Final: c.final,
	}}, ctx
}

// call is an operation under way.
type call struct {
	client *client
	store  *store
	cancel context.CancelFunc
	op     history.Op
}

// end writes the operation down. An error is kept with its first occurrences.
func (x *call) end(err error) history.Outcome {
	outcome, status := classify(err)
	return x.endAs(outcome, status, err)
}

func (x *call) endAs(outcome history.Outcome, status uint16, err error) history.Outcome {
	l := x.client.load
	x.op.End, x.op.Outcome, x.op.Status = l.log.Now(), outcome, status
	x.cancel()
	l.inUse.Add(-1)
	if outcome == history.Unreachable {
		x.store.dead.Store(time.Now().Add(avoidTime).UnixNano())
	}
	l.log.Add(x.op)
	if err != nil && outcome.Failed() && !x.op.Odd {
		l.log.AddMessage(x.op, err.Error())
	}
	if x.op.Key >= 0 {
		l.book.Note(x.op)
	}
	return outcome
}

// lie writes down an answer that is wrong by itself.
func (x *call) lie(class history.Class, detail string) history.Outcome {
	l := x.client.load
	x.op.End, x.op.Outcome = l.log.Now(), history.Wrong
	l.log.AddLie(history.Lie{Class: class, Op: x.op, Detail: detail})
	return x.endAs(history.Wrong, x.op.Status, nil)
}

// Times of the last sweep: a cluster that has just healed may refuse for a moment, and what it then refuses is not lost. What it refuses
// for so long is: then everything else is tried once.
const (
	sweepPatience = 30 * time.Second
	sweepPause    = time.Second
)

// patiently tries until there is an answer, or the patience of the sweep is at its end. Every try is written down.
func (c *client) patiently(ctx context.Context, until time.Time, try func() history.Outcome) {
	for {
		if o := try(); !o.Failed() || o == history.Wrong || time.Now().After(until) {
			return
		}
		timer := time.NewTimer(sweepPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
