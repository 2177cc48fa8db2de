package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrPrepare tells that the objects to read or list could not be written.
var ErrPrepare = errors.New("bench: could not write the objects of the run")

// run is the state of one Run.
type run struct {
	config  Config
	workers []*worker
	report  *Report
	created bool // whether the bucket is this run's own
}

// Run puts the load of c on its endpoint and reports what it found. When ctx is
// done it stops after the requests in flight and reports what there is. Requests
// that fail are figures of the report; the error tells of a run that could not be made.
func Run(ctx context.Context, c Config) (*Report, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	r := newRun(c)
	defer r.close()
	if err := r.ensureBucket(); err != nil {
		return nil, err
	}
	err = r.phases(ctx)
	r.report.Interrupted = ctx.Err() != nil
	if c.Cleanup {
		err = errors.Join(err, r.cleanup())
	}
	return r.report, err
}

func newRun(c Config) *run {
	r := &run{config: c, report: newReport(&c)}
	size := c.SizeBytes
	if c.Operation == List {
		size = 0
		r.report.SizeBytes = 0
	}
	b, tag := newBodies(c.Seed, size), runTag()+"-"
	for i := range c.Workers {
		r.workers = append(r.workers, newWorker(&r.config, b, tag, i))
	}
	return r
}

func (r *run) close() {
	for _, w := range r.workers {
		w.client.close()
	}
}

// phases does what the operation consists of.
func (r *run) phases(ctx context.Context) error {
	c := &r.config
	var fill, next atomic.Uint64
	plain, folded := &lister{config: c}, &lister{config: c, delimiter: "/"}
	if c.Operation != Put && !c.Reuse {
		prepare := prepareStep(c, &fill)
		if c.Operation == List {
			prepare = plain.fillStep(func() uint64 { return fill.Add(1) - 1 })
		}
		if err := r.prepare(ctx, prepare); err != nil {
			return err
		}
	}
	switch c.Operation {
	case Get:
		return r.measure(ctx, "get", getStep(c))
	case Mixed:
		return r.measure(ctx, "mixed", mixedStep(c, &next))
	case List:
		if err := r.measure(ctx, "list", plain.walkStep); err != nil {
			return err
		}
		return r.measure(ctx, "list with delimiter", folded.walkStep)
	default:
		return r.measure(ctx, "put", putStep(c, &next))
	}
}

// prepare writes the objects. Its figures are reported only if requests failed that were
// then tried again: a run must not hide them.
func (r *run) prepare(ctx context.Context, s step) error {
	took := r.load(ctx, progress{name: "prepare", total: r.config.Objects}, s)
	p := Phase{Name: "prepare", Seconds: took.Seconds()}
	written, failed := 0, 0
	for _, n := range gather(r.recorders()) {
		p.Rows = append(p.Rows, newRow(n, took))
		written, failed = written+int(n.latency.total), failed+n.failed()
	}
	if failed == 0 || ctx.Err() != nil {
		return nil
	}
	r.report.Phases = append(r.report.Phases, p)
	if written < r.config.Objects {
		return fmt.Errorf("%w: %d of %d: %s", ErrPrepare, written, r.config.Objects, p.Rows[0].ErrorKinds[0].First)
	}
	return nil
}

// measure runs a step for the configured time and adds a phase to the report.
func (r *run) measure(ctx context.Context, name string, s step) error {
	if r.config.Warmup > 0 {
		r.load(ctx, progress{name: "warm-up", duration: r.config.Warmup}, s)
	}
	if ctx.Err() != nil {
		return nil
	}
	m, err := startMeter(ctx, r.config.ServerPID)
	if err != nil {
		return err
	}
	took := r.load(ctx, progress{name: name, duration: r.config.Duration}, s)
	p := Phase{Name: name, Seconds: took.Seconds()}
	requests := 0
	for _, n := range gather(r.recorders()) {
		p.Rows = append(p.Rows, newRow(n, took))
		if n.kind != kindWalk && n.kind != kindPageFirst && n.kind != kindPageLast {
			requests += int(n.latency.total) + n.failed()
		}
	}
	m.finish(&p, requests)
	r.report.Phases = append(r.report.Phases, p)
	r.report.Server = r.workers[0].client.server
	return nil
}

// load has every worker repeat s until the phase is over, and returns how long that took.
func (r *run) load(ctx context.Context, p progress, s step) time.Duration {
	if p.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.duration)
		defer cancel()
	}
	p.out, p.tty, p.recorders = r.config.Progress, r.config.ProgressTTY, r.recorders()
	showing, hide := context.WithCancel(context.WithoutCancel(ctx))
	var show, work sync.WaitGroup
	show.Go(func() { p.run(showing) })
	began := time.Now()
	for _, w := range r.workers {
		w.record.reset()
		w.failures = 0
		work.Go(func() {
			for ctx.Err() == nil && s(ctx, w) {
			}
		})
	}
	work.Wait()
	took := time.Since(began)
	hide()
	show.Wait()
	return took
}

func (r *run) recorders() []*recorder {
	all := make([]*recorder, len(r.workers))
	for i, w := range r.workers {
		all[i] = w.record
	}
	return all
}
