package faultdisk

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Drives are the drives that can be ill, in a process of their own.
type Drives struct {
	process *exec.Cmd
	client  *rpc.Client
	dirs    []string
}

// Start starts the process; program with args must call Serve with its standard input and output. Its complaints go to log.
func Start(log io.Writer, program string, args ...string) (*Drives, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("faultdisk: only root can mount a file system")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return nil, fmt.Errorf("faultdisk: the kernel offers no file systems of processes: %w", err)
	}
	d := &Drives{process: exec.Command(program, args...)}
	d.process.Stderr = log
	d.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the end of its input is what ends it, no key of the terminal
	in, err := d.process.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := d.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.process.Start(); err != nil {
		return nil, fmt.Errorf("faultdisk: %w", err)
	}
	d.client = rpc.NewClientWithCodec(jsonrpc.NewClientCodec(Pipes{out, in}))
	return d, nil
}

// Pipes are two one-way connections as one.
type Pipes struct {
	io.ReadCloser
	Out io.WriteCloser
}

// Write writes to the one that goes out.
func (p Pipes) Write(data []byte) (int, error) { return p.Out.Write(data) }

// Close closes both.
func (p Pipes) Close() error { return errors.Join(p.Out.Close(), p.ReadCloser.Close()) }

// callTime bounds what an order may take.
const callTime = time.Minute

func (d *Drives) call(method string, o Order) error {
	call := d.client.Go(serviceName+"."+method, o, &Done{}, make(chan *rpc.Call, 1))
	timer := time.NewTimer(callTime)
	defer timer.Stop()
	select {
	case <-call.Done:
		return call.Error
	case <-timer.C:
		return fmt.Errorf("faultdisk: %s %s: no answer", method, o.Dir)
	}
}

// Mount puts a file system over a directory, in which nobody may have files open.
func (d *Drives) Mount(dir string) error {
	if err := d.call("Mount", Order{Dir: dir}); err != nil {
		return fmt.Errorf("faultdisk: mount: %w", err)
	}
	d.dirs = append(d.dirs, dir)
	return nil
}

// Has tells whether a directory was mounted.
func (d *Drives) Has(dir string) bool {
	for _, known := range d.dirs {
		if known == dir {
			return true
		}
	}
	return false
}

// Set says what is wrong with a drive from now on; the seed decides which calls fail.
func (d *Drives) Set(dir string, f Faults, seed uint64) error {
	return d.call("Set", Order{Dir: dir, Faults: f, Seed: seed})
}

// Heal makes all drives well.
func (d *Drives) Heal() (errs error) {
	for _, dir := range d.dirs {
		errs = errors.Join(errs, d.Set(dir, Faults{}, 0))
	}
	return errs
}

// Cut cuts the power of a drive of which nobody has files open: what was not synced is lost; if torn, a part of it is there, as the seed decides.
func (d *Drives) Cut(dir string, torn bool, seed uint64) error {
	return d.call("Cut", Order{Dir: dir, Torn: torn, Seed: seed})
}

// Close leaves all directories as they were and ends the process.
func (d *Drives) Close() error {
	errs := errors.Join(d.client.Close(), d.process.Wait())
	for _, dir := range d.dirs {
		// Where it died nothing is mounted any more that answers, but the place is taken.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = errors.Join(errs, fmt.Errorf("faultdisk: unmount %s: %w", dir, err))
		}
	}
	return errs
}
