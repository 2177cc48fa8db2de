package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"kintsugi/internal/sealed"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state"
)

// A host with a record and no log may have voted and acknowledged what it does not know any more. One with a log and no
// record is what a crash left of it when it was thrown away, or was damaged by other hands.
var (
	errLogLost    = fmt.Errorf("%w: the log is gone", raftgroup.ErrDamaged)
	errRecordLost = fmt.Errorf("%w: the record is gone", raftgroup.ErrDamaged)
)

// isDamaged tells whether a host cannot be opened because it lost something.
func isDamaged(err error) bool {
	return errors.Is(err, raftgroup.ErrDamaged) || errors.Is(err, state.ErrDamaged) || errors.Is(err, sealed.ErrDamaged)
}

// hasLog tells whether there is a log on the drive.
func (m *Member) hasLog() bool {
	_, err := os.Stat(filepath.Join(m.drive.Dir, metaDir, logDir))
	return err == nil
}

// exists tells whether the drive is still there.
func (m *Member) exists() bool {
	if m.drive.ID == (Drive{}).ID {
		_, err := os.Stat(m.drive.Dir)
		return err == nil
	}
	return m.drive.isThere()
}

// reopen starts the host as the record has it.
func (m *Member) reopen(ctx context.Context, cutTail bool) error {
	r := m.record
	if len(r.Voters) == 0 && !m.hasLog() {
		return errLogLost
	}
	h, err := m.hosts.open(m.drive, r, cutTail)
	if err != nil {
		return err
	}
	m.started(ctx, h)
	return nil
}

// renew makes a new, empty host in place of what was there.
func (m *Member) renew(ctx context.Context) error {
	r := record{ID: newID()}
	m.mu.Lock()
	m.record = r // the old id is not used again, however this ends
	m.mu.Unlock()
	if err := makeHostDir(m.drive.Dir, r); err != nil {
		return err
	}
	h, err := m.hosts.open(m.drive, r, false)
	if err != nil {
		return err
	}
	m.started(ctx, h)
	m.log.Info("new metadata replica", "dir", m.drive.Dir, "replica", r.ID)
	return nil
}

// started takes over a host that runs. Its log now knows the first voters: were they to stay in the record, a host
// that lost its log could be born again under an id that has voted.
func (m *Member) started(ctx context.Context, h *host) {
	if len(h.Voters) > 0 {
		h.Voters = nil
		if err := h.record.write(h.drive.Dir); err != nil {
			m.log.Warn("metadata replica's record cannot be written", "dir", h.drive.Dir, "error", err)
		}
	}
	m.mu.Lock()
	m.host, m.record = h, h.record
	m.mu.Unlock()
	m.control.cause = nil
	m.running.Go(func() { m.watch(ctx, h) })
	m.running.Go(func() { h.scrub(ctx, m.log) })
}

// watch waits for the end of h.
func (m *Member) watch(ctx context.Context, h *host) {
	select {
	case <-h.raft.Failed():
		m.drop(h, h.raft.Err())
	case <-h.machine.Failed():
		m.drop(h, h.machine.Err())
	case <-ctx.Done():
	}
}

// drop stops a host that failed; the controller replaces it.
func (m *Member) drop(h *host, cause error) {
	m.mu.Lock()
	if m.host != h {
		m.mu.Unlock()
		return
	}
	m.host = nil
	m.mu.Unlock()
	m.log.Warn("metadata replica failed", "dir", h.drive.Dir, "replica", h.ID, "error", cause)
	if err := h.close(); err != nil {
		m.log.Info("closing the failed metadata replica", "dir", h.drive.Dir, "error", err)
	}
	m.control.failures <- cause
	m.poke()
}

// recovery is what keepHost decides from.
type recovery struct {
	cause     error         // why there is no host
	age       time.Duration // since when
	elsewhere bool          // every group has just been served by a quorum without this host
}

// step is what to do about a host that does not run.
type step int

const (
	stepWait   step = iota
	stepReopen      // as it is
	stepCut         // without the last batch of its log
	stepRenew       // throw it away
)

// next decides how a host comes back. It is thrown away only while the others prove that they have a quorum without
// it: then everything acknowledged is with them. Without that it is needed as it is, even if the last
// batch of its log has to be left out, which is torn much more probably than damaged. What is damaged for
// sure never votes again. What the drive could not read may be whole: it is tried again, and verified when it is read.
func (r recovery) next() step {
	switch {
	case r.elsewhere:
		return stepRenew
	case errors.Is(r.cause, raftgroup.ErrDoubtfulTail):
		if r.age >= doubtWait {
			return stepCut
		}
		return stepWait
	case isDamaged(r.cause) && !errors.Is(r.cause, syscall.EIO):
		return stepWait
	}
	return stepReopen
}

// keepHost brings the host back if there is none.
func (m *Member) keepHost(ctx context.Context) {
	c := &m.control
	select {
	case err := <-c.failures:
		c.broken(err)
	default:
	}
	if m.current() != nil || c.cause == nil || time.Now().Before(c.retry) {
		return
	}
	if !m.exists() {
		m.fail(fmt.Errorf("metadata of %s: the drive is gone: %w", m.drive.Dir, c.cause))
		return
	}
	r := recovery{cause: c.cause, age: time.Since(c.brokenAt), elsewhere: m.servedElsewhere(ctx)}
	var err error
	switch r.next() {
	case stepWait:
		return
	case stepReopen:
		err = m.reopen(ctx, false)
	case stepCut:
		m.log.Warn("the last batch of the metadata log is in doubt and left out: no quorum without this replica", "dir", m.drive.Dir)
		err = m.reopen(ctx, true)
	case stepRenew:
		m.metrics.rebuilds.Inc()
		err = m.renew(ctx)
	}
	if err != nil {
		m.log.Warn("metadata replica cannot be opened", "dir", m.drive.Dir, "error", err)
		if isDamaged(err) {
			c.cause = err
		}
		c.postpone()
	}
}
