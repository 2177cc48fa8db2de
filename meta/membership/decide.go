package membership

import (
	"bytes"
	"context"
	"time"

	"kintsugi/placement"
)

// decide keeps the cluster map true while the term lasts.
func (c *Coordinator) decide(ctx context.Context, t *term) {
	ticker := time.NewTicker(stepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-c.kick:
		}
		if !c.cfg.Leads() || !c.Leading() {
			return
		}
		c.step(ctx, t)
	}
}

// step ends leases and changes the map if it has to.
func (c *Coordinator) step(ctx context.Context, t *term) {
	now := time.Now()
	c.mu.Lock()
	if now.Sub(t.stepped) > frozenTooLong { // beats may wait in the sockets
		t.table.Forgive(now)
	}
	t.stepped = now
	t.table.Tick(now)
	c.tellOf(t)
	c.metrics.observe(t)
	reload := t.reload
	var edit editFunc
	if !reload && now.After(t.retry) {
		edit = c.edit(t, now)
	}
	c.mu.Unlock()
	if now.Before(t.retry) || !reload && edit == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if reload {
		c.editing.Lock()
		err := c.reload(ctx, t)
		c.editing.Unlock()
		c.retryAfter(t, err)
		return
	}
	_, err := c.change(ctx, edit)
	c.retryAfter(t, err)
	t.stepped = time.Now() // a commit may take its time
}

// retryAfter lets a while pass after a failure.
func (c *Coordinator) retryAfter(t *term, err error) {
	if err == nil {
		return
	}
	t.retry = time.Now().Add(retryPause)
	c.cfg.Logger.Warn("the cluster map cannot be changed now", "error", err)
}

// edit returns what the map must learn, nil if nothing. It decides again on the map that it gets, which may be
// newer. The caller holds mu.
func (c *Coordinator) edit(t *term, now time.Time) editFunc {
	if t.m == nil {
		return c.firstEdit(t, now)
	}
	if len(NextChanges(t.m, t.table, now, c.cfg.Policy)) > 0 {
		return func(m *placement.Map) (*placement.Map, error) {
			c.mu.Lock()
			changes := NextChanges(m, t.table, time.Now(), c.cfg.Policy)
			c.mu.Unlock()
			return apply(m, changes)
		}
	}
	complete, all := t.moved.complete()
	if len(complete) == 0 || !all && now.Sub(t.completed) < completePause {
		return nil
	}
	t.completed = now
	return func(m *placement.Map) (*placement.Map, error) {
		c.mu.Lock()
		complete, _ := t.moved.complete() // its map is m: it changes only while editing is held
		c.mu.Unlock()
		return m.Complete(complete), nil
	}
}

func (c *Coordinator) firstEdit(t *term, now time.Time) editFunc {
	f, ok := c.cfg.Directory.Founding()
	if !ok {
		return nil
	}
	birth, ok := FirstMap(f, t.table, now, c.cfg.FirstQuiet, c.cfg.Code)
	if !ok {
		return nil
	}
	return func(m *placement.Map) (*placement.Map, error) {
		if m != nil {
			return m, nil // read meanwhile
		}
		return birth.Map()
	}
}

// editFunc makes the next map of the newest, or returns that.
type editFunc = func(*placement.Map) (*placement.Map, error)

// Change commits what edit makes of the newest map, and tells everybody. It returns the map that then
// counts. What edit returns must be the map that it got or the next one.
func (c *Coordinator) Change(ctx context.Context, edit func(*placement.Map) (*placement.Map, error)) (*placement.Map, error) {
	return c.change(ctx, func(m *placement.Map) (*placement.Map, error) {
		if m == nil {
			return nil, ErrNoMap
		}
		return edit(m)
	})
}

// change is Change where there may be no map yet: edit gets nil then.
func (c *Coordinator) change(ctx context.Context, edit editFunc) (*placement.Map, error) {
	c.editing.Lock()
	defer c.editing.Unlock()
	c.mu.Lock()
	t := c.term
	leading := c.leading(time.Now())
	c.mu.Unlock()
	if !leading {
		return nil, c.notCoordinator()
	}
	next, err := edit(t.m) // t.m changes only while editing is held
	if err != nil || next == t.m {
		return t.m, err
	}
	// The map's store may reach the group through another leader: only one that leads now may decide.
	if err := c.confirm(ctx, t); err != nil {
		return nil, err
	}
	if err := c.cfg.Maps.SetClusterMap(ctx, next); err != nil {
		if again := c.reload(ctx, t); again != nil || !bytes.Equal(t.encoded, encode(next)) {
			return nil, err
		}
		return t.m, nil
	}
	c.publish(t, next)
	return next, nil
}

// reload takes the map from the store. The caller holds editing.
func (c *Coordinator) reload(ctx context.Context, t *term) error {
	m, err := c.cfg.Maps.ClusterMap(ctx)
	if err != nil {
		c.mu.Lock()
		t.reload = true
		c.mu.Unlock()
		return err
	}
	if m != nil && m.Epoch > t.epoch() {
		c.publish(t, m)
	}
	c.mu.Lock()
	t.reload = false
	c.mu.Unlock()
	return nil
}

// publish tells everybody of a map that was committed.
func (c *Coordinator) publish(t *term, m *placement.Map) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.setMap(time.Now(), m)
	c.tell()
	c.metrics.changes.Inc()
	c.cfg.Logger.Info("cluster map changed", "epoch", m.Epoch, "drives", len(m.Drives), "partitionsMoving", len(m.Open()))
}

// SetOrders makes what edit does to the newest orders the newest.
func (c *Coordinator) SetOrders(edit func(*Orders)) (Orders, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leading(time.Now()) {
		return Orders{}, c.notCoordinator()
	}
	serial := c.orders.Serial
	edit(&c.orders)
	c.orders.Serial = serial + 1
	c.tell()
	return c.orders, nil
}
