package sim

import (
	"testing"
	"testing/synctest"
	"time"
)

// failover is how long writes may stop when a leader is lost.
const failover = 1500 * time.Millisecond

// TestLeaderLost loses the leader in every way there is: the others go on in time, and it catches up when it is back.
func TestLeaderLost(t *testing.T) {
	tests := []struct {
		name string
		lose func(r *replicas, leader uint64)
		back func(r *replicas, leader uint64)
	}{
		{"killed", func(r *replicas, l uint64) { r.crash(l, false) }, func(r *replicas, l uint64) { r.start(l) }},
		{"without power", func(r *replicas, l uint64) { r.crash(l, true) }, func(r *replicas, l uint64) { r.start(l) }},
		{"stopped", func(r *replicas, l uint64) { r.net.Freeze(name(l)) }, func(r *replicas, l uint64) { r.net.Thaw(name(l)) }},
		{"cut off", func(r *replicas, l uint64) { r.isolate(l, true, true) }, func(r *replicas, l uint64) { r.net.Heal() }},
		{"is not heard", func(r *replicas, l uint64) { r.isolate(l, true, false) }, func(r *replicas, l uint64) { r.net.Heal() }},
		{"ended", func(r *replicas, l uint64) { r.stop(l) }, func(r *replicas, l uint64) { r.start(l) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReplicas(t, *seed, 2, 1, 2, 3)
				r.put(0, "before")
				leader := r.leader(0)
				tt.lose(r, leader)
				took := r.putElsewhere(leader, "during")
				t.Logf("%v", took)
				if took > failover {
					t.Errorf("writes stopped for %v", took)
				}
				tt.back(r, leader)
				r.put(0, "after")
				r.same()
			})
		})
	}
}

// isolate cuts what a host sends, what it receives, or both.
func (r *replicas) isolate(id uint64, out, in bool) {
	for _, other := range r.first {
		if out && other != id {
			r.net.Cut(name(id), name(other))
		}
		if in && other != id {
			r.net.Cut(name(other), name(id))
		}
	}
}

// putElsewhere is put without asking a host that is lost.
func (r *replicas) putElsewhere(lost uint64, command string) time.Duration {
	r.t.Helper()
	p := r.take(lost)
	defer func() {
		if p != nil {
			r.up[lost] = p
		}
	}()
	return r.put(0, command)
}

// TestOneWay lets a follower hear nobody, or nobody hear it, or a single link be cut one way: the leader stays, or there are two
// elections at most.
func TestOneWay(t *testing.T) {
	tests := []struct {
		name string
		cut  func(r *replicas, leader, follower, other uint64)
	}{
		{"follower is deaf", func(r *replicas, _, f, _ uint64) { r.isolate(f, false, true) }},
		{"follower is mute", func(r *replicas, _, f, _ uint64) { r.isolate(f, true, false) }},
		{"leader does not reach follower", func(r *replicas, l, f, _ uint64) { r.net.Cut(name(l), name(f)) }},
		{"follower does not reach leader", func(r *replicas, l, f, _ uint64) { r.net.Cut(name(f), name(l)) }},
		{"leader and follower are apart", func(r *replicas, l, f, _ uint64) { r.net.Cut(name(f), name(l)); r.net.Cut(name(l), name(f)) }},
		{"followers are apart", func(r *replicas, _, f, o uint64) { r.net.Cut(name(f), name(o)); r.net.Cut(name(o), name(f)) }},
		{"leader is deaf to all", func(r *replicas, l, _, _ uint64) { r.isolate(l, false, true) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReplicas(t, 2, 1, 1, 2, 3)
				r.put(0, "before")
				leader := r.leader(0)
				follower, other := leader%3+1, (leader+1)%3+1
				before := r.term(leader, 0)
				tt.cut(r, leader, follower, other)
				for range 10 {
					time.Sleep(time.Second)
					if took := r.put(0, "during"); took > failover {
						t.Errorf("writes stopped for %v", took)
					}
				}
				r.net.Heal()
				r.put(0, "after")
				r.same()
				if n := r.term(r.leader(0), 0) - before; n > 2 {
					t.Errorf("%d elections", n)
				}
			})
		})
	}
}
