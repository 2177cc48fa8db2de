package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"kintsugi/bench/chaos/faultdisk"
)

// Config says what cluster is started.
type Config struct {
	Program     string // the kintsugi binary
	Dir         string // made; everything is kept there
	Nodes       int
	Metas       int
	Gateways    int
	Code        string // such as 4+2
	OutAfter    time.Duration
	KeepDeleted time.Duration
	Disk        int64 // size in bytes of every drive's file system; 0: that of Dir
	// FaultyDrives are the arguments with which Program serves drives that can be ill; nil: they are not wanted.
	FaultyDrives []string
	// OwnNetwork says that this process is alone in a network namespace, so that packets may be dropped there.
	OwnNetwork bool
	Env        []string // added to that of the processes; the credentials are in it
}

// Cluster is a cluster of processes that runs.
type Cluster struct {
	config   Config
	launcher *launcher
	dev      *exec.Cmd
	devDone  chan struct{}
	output   *os.File // of dev
	mounts   []string
	drives   *faultdisk.Drives // that can be ill; nil if noFaulty says why not, or nobody wants them
	noFaulty error

	mu    sync.Mutex // guards nodes, which grows
	nodes []*Node
	// separated says that packets can be told apart by the node that sends them.
	separated bool
}

// Node is a process of the cluster. Its fields do not change, but for those that mu guards.
type Node struct {
	Role    string   `json:"role"`
	Name    string   `json:"node"`
	Addr    string   `json:"addr"`
	Admin   string   `json:"admin"`
	S3      string   `json:"s3"`
	Dirs    []string `json:"dirs"`
	Log     string   `json:"log"`
	Command []string `json:"command"`

	mu      sync.Mutex
	PID     int           `json:"pid"`
	own     chan struct{} // closed when a process that was started here has ended; nil if it was not
	down    bool          // somebody killed it on purpose
	stopped bool
	starts  int // how often it was started here
	removed bool
}

// startTime bounds how long a cluster may take until it is ready.
const startTime = 2 * time.Minute

// ErrStart says that the cluster did not become ready.
var ErrStart = errors.New("cluster: it did not start")

// Start starts a cluster and waits until it is ready.
func Start(ctx context.Context, c Config) (*Cluster, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(c.Dir, "dev.log"))
	if err != nil {
		return nil, err
	}
	k := &Cluster{config: c, launcher: newLauncher(), output: out, devDone: make(chan struct{})}
	k.dev = exec.Command(c.Program, "dev", "--dir", k.dir(), "--nodes", strconv.Itoa(c.Nodes), "--metas", strconv.Itoa(c.Metas),
		"--gateways", strconv.Itoa(c.Gateways), "--ec", c.Code, "--out-after", c.OutAfter.String(), "--keep-deleted", c.KeepDeleted.String())
	k.dev.Env = append(os.Environ(), c.Env...)
	k.dev.Stdout, k.dev.Stderr = out, out
	k.dev.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := k.launcher.start(k.dev); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrStart, err), out.Close())
	}
	go func() {
		_ = k.dev.Wait() // that it ended is what matters
		close(k.devDone)
	}()
	if err := k.waitReady(ctx); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if err := k.prepare(ctx); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// prepare makes what some faults need. Without it the cluster can do all but these, which say why when they are asked for.
func (k *Cluster) prepare(ctx context.Context) error {
	var errs []error
	if k.config.Disk > 0 {
		errs = append(errs, k.mountDisks(ctx))
	}
	if k.config.FaultyDrives != nil {
		errs = append(errs, k.mountFaulty(ctx))
	}
	if k.config.OwnNetwork {
		errs = append(errs, k.separate(ctx))
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, ErrCannot) {
			return err
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return k.waitWhole(ctx)
}

// dir is the directory that dev has to itself.
func (k *Cluster) dir() string { return filepath.Join(k.config.Dir, "cluster") }

// Dir is where the cluster keeps its secret and its logs.
func (k *Cluster) Dir() string { return k.dir() }

func (k *Cluster) waitReady(ctx context.Context) error {
	return poll(ctx, startTime, func() error {
		select {
		case <-k.devDone:
			return fmt.Errorf("%w:\n%s", ErrStart, k.lastOutput())
		default:
		}
		data, err := os.ReadFile(filepath.Join(k.dir(), "cluster.json"))
		if err != nil {
			return errNotYet
		}
		var file struct {
			Processes []*Node `json:"processes"`
		}
		if err := json.Unmarshal(data, &file); err != nil {
			return fmt.Errorf("%w: cluster.json: %w", ErrStart, err)
		}
		k.add(file.Processes...)
		return nil
	})
}

// lastOutput is the end of what dev printed.
func (k *Cluster) lastOutput() string {
	data, err := os.ReadFile(k.output.Name())
	if err != nil {
		return err.Error()
	}
	const enough = 4 << 10
	return string(bytes.TrimSpace(data[max(0, len(data)-enough):]))
}

// Nodes are the processes in the order of the cluster, also those that were removed from it.
func (k *Cluster) Nodes() []*Node {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.nodes[:len(k.nodes):len(k.nodes)] // it only grows: sharing it is safe
}

func (k *Cluster) add(nodes ...*Node) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.nodes = append(k.nodes, nodes...)
}

// Members are the processes that belong to the cluster.
func (k *Cluster) Members() (all []*Node) {
	for _, n := range k.Nodes() {
		if !n.isRemoved() {
			all = append(all, n)
		}
	}
	return all
}

// Node returns the process with that name.
func (k *Cluster) Node(name string) (*Node, error) {
	for _, n := range k.Nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("cluster: there is no node %s", name)
}

// Endpoints are the URLs of S3.
func (k *Cluster) Endpoints() (all []string) {
	for _, n := range k.Nodes() {
		if n.S3 != "" {
			all = append(all, n.S3)
		}
	}
	return all
}

// Close ends the processes: first those that were started here, then dev ends its own.
func (k *Cluster) Close() error {
	var ending sync.WaitGroup
	for _, n := range k.Nodes() {
		ending.Go(func() {
			_ = n.Continue() // a stopped process does not hear
			n.end()
		})
	}
	ending.Wait()
	err := k.dev.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case <-k.devDone:
	case <-timer.C:
		err = errors.Join(err, k.dev.Process.Kill())
		<-k.devDone
	}
	k.launcher.close()
	if k.drives != nil {
		err = errors.Join(err, k.drives.Close())
	}
	return errors.Join(err, k.unmount(), k.output.Close())
}

// errNotYet lets poll try again.
var errNotYet = errors.New("not yet")

// pollInterval is the pause between two looks.
const pollInterval = 50 * time.Millisecond

// poll calls look until it returns something else than errNotYet.
func poll(ctx context.Context, limit time.Duration, look func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if err := look(); !errors.Is(err, errNotYet) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cluster: waited %s: %w", limit, ctx.Err())
		case <-tick.C:
		}
	}
}

// LogSize is how long a node's log is now.
func (n *Node) LogSize() int64 {
	info, err := os.Stat(n.Log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// ReadLog returns what a log has from an offset on, at most limit bytes.
func (n *Node) ReadLog(from, limit int64) ([]byte, error) {
	f, err := os.Open(n.Log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.NewSectionReader(f, from, limit))
}
