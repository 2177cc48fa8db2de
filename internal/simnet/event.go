package simnet

import "time"

// event wakes all who wait for something to change. The network's mutex guards it.
type event struct {
	changed chan struct{} // nil: nobody waits
}

func (e *event) fire() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// await gives up the network's mutex until the event fires, until comes (the zero time never does) or done is closed.
// Why it returned is for the caller to find out.
func (n *Network) await(e *event, until time.Time, done <-chan struct{}) {
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	changed := e.changed
	n.mu.Unlock()
	defer n.mu.Lock()
	var timeout <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
	case <-timeout:
	case <-done:
	}
}

// earliest returns the first of the times that are set.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
