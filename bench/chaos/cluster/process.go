package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// goneTime bounds how long a killed process may stay.
const goneTime = 30 * time.Second

// State is what a process should be doing.
func (n *Node) State() (pid int, down, stopped bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.PID, n.down, n.stopped
}

// Starts is how often the process was started again.
func (n *Node) Starts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.starts
}

// isRemoved tells whether the node was taken out of the cluster for ever.
func (n *Node) isRemoved() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.removed
}

// Alive tells whether the process exists and is no zombie. The first thread of one that was killed is, while others still wait for a disk and
// keep its ports.
func (n *Node) Alive() bool {
	pid, _, _ := n.State()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // none if it is gone meanwhile
	return !strings.HasPrefix(rest, "Z") || len(threads) > 1
}

// EndedByItself tells whether the process is gone although nobody ended it. It may be killed or started while this looks.
func (n *Node) EndedByItself() bool {
	pid, down, _ := n.State()
	alive := n.Alive()
	now, downNow, _ := n.State() // who kills a process says so first
	return !alive && !down && !downNow && pid == now
}

// Signal sends a signal and returns at once.
func (n *Node) signal(sig syscall.Signal) error {
	pid, _, _ := n.State()
	if pid <= 1 || !n.Alive() {
		return fmt.Errorf("cluster: %s does not run", n.Name)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("cluster: %s: %w", n.Name, err)
	}
	return nil
}

// Kill ends the process without any warning. It does not wait, so that several die at one moment.
func (n *Node) Kill() error {
	n.mu.Lock()
	n.down, n.stopped = true, false
	n.mu.Unlock()
	return n.signal(syscall.SIGKILL)
}

// Stop keeps the process from running.
func (n *Node) Stop() error {
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	return n.signal(syscall.SIGSTOP)
}

// Continue lets the process go on.
func (n *Node) Continue() error {
	n.mu.Lock()
	n.stopped = false
	n.mu.Unlock()
	return n.signal(syscall.SIGCONT)
}

// Terminate tells the process to end, as an upgrade does.
func (n *Node) Terminate() error {
	n.mu.Lock()
	n.down = true
	n.mu.Unlock()
	return n.signal(syscall.SIGTERM)
}

// WaitGone waits until the process has ended.
func (n *Node) WaitGone(ctx context.Context) error {
	return poll(ctx, goneTime, func() error {
		if n.Alive() {
			return errNotYet
		}
		return nil
	})
}

// Start starts the process again with the same command. It does not wait until it is ready.
func (k *Cluster) Start(n *Node) error {
	if n.Alive() {
		return fmt.Errorf("cluster: %s runs", n.Name)
	}
	log, err := os.OpenFile(n.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(n.Command[0], n.Command[1:]...)
	cmd.Env = append(os.Environ(), k.config.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM, Credential: k.credential(n)}
	if err := k.launcher.start(cmd); err != nil {
		return fmt.Errorf("cluster: %s: %w", n.Name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.PID, n.own, n.down, n.stopped, n.starts = cmd.Process.Pid, done, false, false, n.starts+1
	return nil
}

// end ends a process that was started here, with the time that it needs.
func (n *Node) end() {
	n.mu.Lock()
	own, pid := n.own, n.PID
	n.down = true
	n.mu.Unlock()
	if own == nil {
		return
	}
	_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended
	timer := time.NewTimer(goneTime)
	defer timer.Stop()
	select {
	case <-own:
	case <-timer.C:
		_ = syscall.Kill(pid, syscall.SIGKILL)
		<-own
	}
}
