package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// devChild is one process of the cluster, running or not.
type devChild struct {
	node    devNode
	command []string
	log     string // file, appended to

	cmd   *exec.Cmd
	pid   int           // of the process that was started last
	done  chan struct{} // closed when the process has ended
	exit  error         // after done
	began time.Time
	told  bool // its death has been reported
}

// start starts the process. It dies with the calling thread, gently. It is in a process group of its own, so that an
// interrupt from the terminal reaches dev alone, which stops processes in the right order.
func (c *devChild) start(env []string, ended func(*devChild)) error {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(c.command[0], c.command[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", c.node.Name, err)
	}
	done := make(chan struct{})
	c.cmd, c.pid, c.began, c.told, c.done, c.exit = cmd, cmd.Process.Pid, time.Now(), false, done, nil
	go func() {
		c.exit = cmd.Wait()
		close(done)
		ended(c)
	}()
	return nil
}

func (c *devChild) isRunning() bool {
	if c.done == nil {
		return false
	}
	c.settle()
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// settle waits for the one who notes the end of a process if it has ended: whoever killed it a moment ago
// must not be told that it runs.
func (c *devChild) settle() {
	var info unix.Siginfo
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Waitid(unix.P_PID, c.pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	}
	if err != nil || info.Signo != 0 { // noted already, or about to be
		<-c.done
	}
}

// end tells the process to stop, kills it after grace and waits for its end.
func (c *devChild) end(grace time.Duration) {
	if !c.isRunning() {
		return
	}
	_ = c.cmd.Process.Signal(unix.SIGTERM) // it may just have ended
	_ = c.cmd.Process.Signal(unix.SIGCONT) // a stopped one does not hear
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// isReady asks the process itself.
func (c *devChild) isReady(client *http.Client) bool {
	resp, err := client.Get("http://" + loopback(c.node.Admin) + "/health/ready")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// epitaph says how the process ended.
func (c *devChild) epitaph() string {
	if c.exit == nil {
		return "stopped"
	}
	return "died: " + c.exit.Error()
}

// lastLines returns the end of the log, indented.
func (c *devChild) lastLines(n int) string {
	const enough = 8 << 10
	f, err := os.Open(c.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	p := make([]byte, min(info.Size(), enough))
	if _, err := f.ReadAt(p, info.Size()-int64(len(p))); err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(p), "\n"), "\n")
	return "    " + strings.Join(lines[max(0, len(lines)-n):], "\n    ") + "\n"
}
