package cluster

import (
	"os/exec"
	"runtime"
)

// launcher starts processes from one thread that lives as long as it does. The kernel ends a process when the thread that
// started it ends, if so asked; the threads of Go come and go.
type launcher struct {
	starts chan func()
	done   chan struct{}
}

func newLauncher() *launcher {
	l := &launcher{make(chan func()), make(chan struct{})}
	go func() {
		defer close(l.done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for start := range l.starts {
			start()
		}
	}()
	return l
}

func (l *launcher) start(cmd *exec.Cmd) (err error) {
	started := make(chan struct{})
	l.starts <- func() {
		defer close(started)
		err = cmd.Start()
	}
	<-started
	return err
}

func (l *launcher) close() {
	close(l.starts)
	<-l.done
}
