package bench

import (
	"context"
	"sync/atomic"
)

// prepared is the series of keys that reads use; it is the same in every run.
const prepared = "o-"

// step makes one request; it returns false when there is nothing left to do.
type step func(ctx context.Context, w *worker) bool

// putStep writes new keys, or goes round the configured number of them.
func putStep(c *Config, next *atomic.Uint64) step {
	return func(ctx context.Context, w *worker) bool {
		n := next.Add(1) - 1
		if c.Objects > 0 {
			n %= uint64(c.Objects)
		}
		_ = w.put(ctx, w.tag, n) // recorded
		return true
	}
}

func getStep(c *Config) step {
	return func(ctx context.Context, w *worker) bool {
		w.get(ctx, prepared, w.random.Uint64N(uint64(c.Objects)))
		return true
	}
}

// mixedStep reads what was prepared, writes new keys and deletes those that the
// same worker wrote, so that no request can fail for want of its object.
func mixedStep(c *Config, next *atomic.Uint64) step {
	m := c.Mix
	return func(ctx context.Context, w *worker) bool {
		n := w.random.Uint64N(uint64(c.Objects))
		switch dice := w.random.IntN(m.total()); {
		case dice < m.Get:
			w.get(ctx, prepared, n)
		case dice < m.Get+m.Head:
			w.head(ctx, prepared, n)
		case dice < m.Get+m.Head+m.Delete && len(w.mine) > 0:
			last := len(w.mine) - 1
			w.remove(ctx, w.tag, w.mine[last])
			w.mine = w.mine[:last]
		default:
			n = next.Add(1) - 1
			if w.put(ctx, w.tag, n) == nil {
				w.mine = append(w.mine, n)
			}
		}
		return true
	}
}

// prepareStep writes every object that reads will use, once.
func prepareStep(c *Config, next *atomic.Uint64) step {
	return func(ctx context.Context, w *worker) bool {
		n := next.Add(1) - 1
		if n >= uint64(c.Objects) {
			return false
		}
		for ctx.Err() == nil && w.put(ctx, prepared, n) != nil && w.failures < maxPrepareTries {
		}
		return w.failures < maxPrepareTries
	}
}

// maxPrepareTries is how often in a row one object may fail before a run gives up.
const maxPrepareTries = 6
