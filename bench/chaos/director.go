package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"kintsugi/bench/chaos/cluster"
	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/oracle"
	"kintsugi/bench/chaos/report"
	"kintsugi/bench/chaos/scenario"
)

// director makes faults happen when the scenario says so.
type director struct {
	config   Config
	injector injector
	watcher  *watcher // nil: the cluster says nothing of itself
	log      *history.Log
	tell     func(string)
	rand     *rand.Rand
	next     map[scenario.Fault]string // the node that "next" chose last
	gaveUp   bool                      // the cluster did not mend itself in time: nothing more is done to it

	running sync.WaitGroup // faults that are not undone

	mu      sync.Mutex // guards all below
	began   time.Duration
	reached progress
	faults  []*fault
}

// fault is one that happened, or could not.
type fault struct {
	report.Fault
	begin, end, healed time.Duration // healed is 0 as long as it is not known
	detected           time.Duration
	back               time.Duration // all nodes were there again, with their drives; 0 as long as it is not known
	over               bool          // undone
	settle             time.Duration // after end it is of no more consequence, if nobody can tell
}

func newDirector(c Config, i injector, w *watcher, log *history.Log, tell func(string)) *director {
	return &director{config: c, injector: i, watcher: w, log: log, tell: tell,
		rand: rand.New(rand.NewPCG(c.Seed, 0xc4a05)), next: map[scenario.Fault]string{}}
}

// run makes all faults of the scenario happen, once or until the duration is over.
func (d *director) run(ctx context.Context) error {
	began := d.log.Now()
	d.mu.Lock()
	d.began = began
	d.mu.Unlock()
	watching, stop := context.WithCancel(ctx)
	var follow sync.WaitGroup
	follow.Go(func() { every(watching, statusInterval/2, d.follow) })
	defer follow.Wait()
	defer stop()
	defer d.running.Wait()
	for again := true; again && !d.gaveUp; {
		if err := d.round(ctx); err != nil {
			return err
		}
		d.running.Wait()
		again = d.log.Now()-began < d.config.Duration
		if again {
			d.reach(func(p *progress) { *p = progress{rounds: p.rounds + 1, when: p.when} })
		}
		if err := d.waitHealed(ctx); err != nil {
			return err
		}
	}
	if d.gaveUp {
		return nil
	}
	return pause(ctx, d.config.Scenario.Rest)
}

// round goes through the schedule once.
func (d *director) round(ctx context.Context) error {
	began := d.log.Now()
	last := began // when the step before began
	for number, step := range d.config.Scenario.Steps {
		since, err := d.waitSince(ctx, step.At.Since, began, last)
		if errors.Is(err, errNotRebuilt) {
			d.fail(d.note(step, nil), err)
			continue
		}
		if err != nil || d.gaveUp {
			return err
		}
		for i := range step.Times {
			if err := pause(ctx, since+step.At.After+time.Duration(i)*step.Every-d.log.Now()); err != nil {
				return err
			}
			last = d.log.Now()
			if i == 0 {
				d.reach(func(p *progress) { p.steps, p.when = number+1, last })
			}
			d.begin(ctx, step)
		}
	}
	return nil
}

// waitSince waits for what a moment counts from, and returns when that was.
func (d *director) waitSince(ctx context.Context, since scenario.Since, began, last time.Duration) (time.Duration, error) {
	switch since {
	case scenario.Then:
		return last, nil
	case scenario.Rebuilt:
		err := d.waitRebuilt(ctx, last)
		return d.log.Now(), err
	case scenario.Healed:
		d.running.Wait()
		err := d.waitHealed(ctx)
		return d.log.Now(), err
	}
	return began, nil
}

// errNotRebuilt says that a fault that should come after a rebuild would not show what it should.
var errNotRebuilt = errors.New("chaos: what was lost was not built anew while the nodes were away")

// waitRebuilt waits until what was lost after some moment has been built anew on nodes that are there.
func (d *director) waitRebuilt(ctx context.Context, after time.Duration) error {
	if d.watcher == nil {
		return pause(ctx, d.config.Settle)
	}
	for limit := d.log.Now() + d.config.HealLimit; ; {
		status, asked := d.watcher.status()
		if asked > after && status.Rebuilt(uint64(d.config.Scenario.Load.Clients)) {
			d.tell("all shards are there again, without the nodes that are away")
			return nil
		}
		if d.log.Now() > limit {
			return errNotRebuilt
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// begin chooses the nodes and starts the fault, which ends by itself.
func (d *director) begin(ctx context.Context, step scenario.Step) {
	all := without(d.injector.Candidates(ctx), d.hit())
	nodes, err := step.Nodes.Choose(all, d.config.Scenario.Cluster.Code.M, d.next[step.Fault], d.rand)
	slices.Sort(nodes)
	how := cluster.How{Count: step.Count, Where: step.Where, By: step.By, Share: step.Share, Rand: rand.New(rand.NewPCG(d.rand.Uint64(), 1))}
	f := d.note(step, nodes)
	if err != nil {
		d.fail(f, err)
		return
	}
	if step.Nodes.Which == scenario.Next {
		d.next[step.Fault] = nodes[0]
	}
	d.running.Go(func() { d.perform(ctx, f, step, how) })
}

// note writes down that a fault begins.
func (d *director) note(step scenario.Step, nodes []string) *fault {
	f := &fault{Fault: report.Fault{Fault: string(step.Fault), Wanted: step.Nodes.String(), Nodes: nodes, Status: report.Injected, Allowed: step.Allowed},
		begin: d.log.Now(), settle: d.config.Settle}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, f)
	f.Number = len(d.faults)
	return f
}

// perform does it, waits, and undoes it, whatever happens to the run meanwhile.
func (d *director) perform(ctx context.Context, f *fault, step scenario.Step, how cluster.How) {
	text := fmt.Sprintf("fault %d: %s", f.Number, f.Fault.Fault)
	if len(f.Nodes) > 0 {
		text += fmt.Sprintf(" %v", f.Nodes)
	}
	if step.For > 0 {
		text += " for " + step.For.String()
	}
	d.tell(text)
	lasting := context.WithoutCancel(ctx)
	undo, err := d.injector.Inject(lasting, string(step.Fault), f.Nodes, how)
	if err != nil {
		d.fail(f, err)
	} else {
		_ = pause(ctx, step.For) // a run that is broken off undoes its faults at once
	}
	if undo != nil {
		if err := undo(lasting); err != nil {
			d.fail(f, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f.end, f.over = d.log.Now(), true
}

// fail notes why a fault did not happen.
func (d *director) fail(f *fault, err error) {
	status := report.FaultNotThere
	if errors.Is(err, cluster.ErrCannot) {
		status = report.FaultSkipped
	}
	d.mu.Lock()
	f.Status, f.Reason, f.over, f.end = status, err.Error(), true, d.log.Now()
	d.mu.Unlock()
	d.tell(fmt.Sprintf("fault %d: %s is %s: %v", f.Number, f.Fault.Fault, status, err))
}

// hit are the nodes of which a fault may still be felt.
func (d *director) hit() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	hit := map[string]bool{}
	for _, f := range d.faults {
		for _, n := range f.Nodes {
			if f.Status == report.Injected && (!f.over || d.watcher != nil && f.healed == 0) {
				hit[n] = true
			}
		}
	}
	return hit
}

// follow finds out when faults were noticed by the cluster, and when everything was whole again.
func (d *director) follow() {
	if d.watcher == nil {
		return
	}
	status, asked := d.watcher.status()
	whole := asked >= 0 && status.Whole(uint64(d.config.Scenario.Load.Clients))
	up := map[string]bool{}
	for _, n := range status.Nodes {
		up[n.Name] = n.Up
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	quiet := !slices.ContainsFunc(d.faults, func(f *fault) bool { return !f.over })
	for _, f := range d.faults {
		if f.Status != report.Injected || asked < f.begin {
			continue
		}
		if f.detected == 0 && f.healed == 0 && f.takesAway() && !slices.ContainsFunc(f.Nodes, func(n string) bool { return up[n] }) {
			f.detected = asked - f.begin
		}
		if f.back == 0 && quiet && asked > f.end && status.Complete() {
			f.back = asked
		}
		if f.healed == 0 && quiet && whole && asked > f.end {
			f.healed = asked
		}
	}
}

// isHealed tells whether the last traces of all faults are gone.
func (d *director) isHealed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.faults {
		switch {
		case f.Status != report.Injected:
		case !f.over, d.watcher != nil && f.healed == 0, d.watcher == nil && d.log.Now() < f.end+d.config.Settle:
			return false
		}
	}
	return true
}

// waitHealed waits until the cluster has mended itself. If it does not in time, the director gives up: what that means is for the
// oracles to say.
func (d *director) waitHealed(ctx context.Context) error {
	for limit := d.log.Now() + d.config.HealLimit; !d.gaveUp && !d.isHealed(); {
		if d.log.Now() > limit {
			d.gaveUp = true
			d.tell(fmt.Sprintf("the cluster has not mended itself within %s: nothing more is done to it%s", d.config.HealLimit, d.flaw()))
		}
		if err := pause(ctx, healedInterval); err != nil {
			return err
		}
	}
	return nil
}

// healedInterval is how often is looked whether all is mended.
const healedInterval = 100 * time.Millisecond

// flaw is what the cluster says that it lacks.
func (d *director) flaw() string {
	if d.watcher == nil {
		return ""
	}
	status, _ := d.watcher.status()
	return "; it says: " + cmp.Or(status.Flaw(uint64(d.config.Scenario.Load.Clients)), "nothing")
}

// snapshot returns what has happened so far.
func (d *director) snapshot() []fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]fault, len(d.faults))
	for i, f := range d.faults {
		all[i] = *f
	}
	return all
}

// recovered is when a fault was of no more consequence.
func (f *fault) recovered() time.Duration {
	switch {
	case !f.over:
		return time.Duration(1<<63 - 1)
	case f.healed > 0:
		return f.healed
	}
	return f.end + f.settle
}

// backGrace is how long requests may fail after all nodes are back: those that had begun before.
const backGrace = 3 * time.Second

// excused is until when a fault excuses failures: until all nodes are back, for then everything must be there, whether it is whole or not.
func (f *fault) excused() time.Duration {
	if f.back > 0 {
		return f.back + backGrace
	}
	return f.recovered()
}

// takesAway tells whether the cluster may find the fault's nodes to be down because of it.
func (f *fault) takesAway() bool { return len(f.Nodes) > 0 && f.Fault.Fault != string(scenario.Drain) }

// windows are the times when failures of requests are allowed.
func windows(faults []fault) (all []oracle.Window) {
	for _, f := range faults {
		if f.Status == report.Injected && f.Allowed != string(oracle.None) {
			all = append(all, oracle.Window{Begin: f.begin, End: f.excused(), Tolerance: oracle.Tolerance(f.Allowed)})
		}
	}
	return all
}
