package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/erasure"
	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
	"kintsugi/internal/simnet"
)

// simCluster is a cluster of whole processes within a test, on a simulated network and in virtual time.
type simCluster struct {
	t      *testing.T
	seed   uint64
	dir    string
	secret *secret.Secret
	net    *simnet.Network
	seeds  []string // rpc addresses of the metadata nodes
	rand   *rand.Rand
	began  time.Time
	ending sync.WaitGroup // processes that were killed: nobody hears of them any more

	mu        sync.Mutex // guards what follows
	processes map[string]*simProcess
	story     []string // what was done to it
}

// simProcess is one process: a node without its S3 and admin ports.
type simProcess struct {
	name  string
	ip    string
	roles rpc.Role
	life  int // how often it was started anew
	log   *simLog

	// While it runs:
	*node
	dirs []string
	stop context.CancelFunc
	done chan error
}

const (
	simMetas    = 3
	simStorage  = 6
	simGateways = 2
	simOutAfter = 15 * time.Second
)

var simCode = erasure.Params{K: 4, M: 2}

// startSim starts a cluster of 4+2 and waits until all of its processes take part.
func startSim(t *testing.T, seed uint64) *simCluster {
	t.Helper()
	dir := simScratch(t)
	s, err := secret.Create(filepath.Join(dir, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	c := &simCluster{
		t: t, seed: seed, dir: dir, secret: s, net: simnet.New(seed), rand: rand.New(rand.NewPCG(seed, 1)),
		began: time.Now(), processes: map[string]*simProcess{},
	}
	c.calm()
	for i := range simMetas {
		c.add(fmt.Sprintf("m%d", i+1), fmt.Sprintf("127.0.1.%d", i+1), rpc.Meta)
		c.seeds = append(c.seeds, fmt.Sprintf("127.0.1.%d:%s", i+1, portRPC))
	}
	for i := range simStorage {
		c.add(fmt.Sprintf("n%d", i+1), fmt.Sprintf("127.0.2.%d", i+1), rpc.Storage)
	}
	for i := range simGateways {
		c.add(fmt.Sprintf("g%d", i+1), fmt.Sprintf("127.0.3.%d", i+1), rpc.Gateway)
	}
	t.Cleanup(c.end)
	for _, name := range c.names(rpc.Meta | rpc.Storage | rpc.Gateway) {
		c.start(name)
		time.Sleep(time.Duration(c.rand.IntN(100_000)) * time.Microsecond) // processes do not tick together
	}
	c.awaitReady(time.Minute)
	return c
}

// simScratch returns a directory in memory, where there is one.
func simScratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "kintsugi-sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (c *simCluster) add(name, ip string, roles rpc.Role) {
	c.processes[name] = &simProcess{name: name, ip: ip, roles: roles, log: &simLog{began: c.began}}
}

// names returns the processes with one of the roles, in order.
func (c *simCluster) names(roles rpc.Role) []string {
	var names []string
	for name, p := range c.processes {
		if p.roles&roles != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// start runs a process on what its last life left.
func (c *simCluster) start(name string) {
	c.t.Helper()
	p := c.processes[name]
	host := c.net.Host(p.ip)
	rpcPort, err := host.Listen(":" + portRPC)
	if err != nil {
		c.t.Fatal(err)
	}
	adminPort, err := host.Listen(":" + portAdmin)
	if err != nil {
		c.t.Fatal(err)
	}
	dirs := p.dirsOf(c.dir)
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			c.t.Fatal(err)
		}
	}
	log := slog.New(slog.NewTextHandler(p.log, nil))
	ports := listeners{rpc: rpcPort, admin: adminPort}
	ctx, stop := context.WithCancel(context.Background())
	n, err := newNode(ctx, nodeConfig{
		serverConfig: serverConfig{dirs: dirs, code: simCode, outAfter: simOutAfter, grace: time.Second, region: "sim"},
		roles:        p.roles, name: name, join: c.seeds, secret: c.secret, dial: host.Dial,
	}, log, ports)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	done := make(chan error, 1)
	go func() { done <- simRun(ctx, n, ports) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	p.node, p.dirs, p.stop, p.done = n, dirs, stop, done
}

// dirsOf returns where the drives of the present life are.
func (p *simProcess) dirsOf(root string) []string {
	if p.roles&(rpc.Storage|rpc.Meta) == 0 {
		return nil
	}
	return []string{filepath.Join(root, fmt.Sprintf("%s.%d", p.name, p.life), "d1")}
}

// simRun is node.run without the S3 port.
func simRun(ctx context.Context, n *node, ports listeners) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.running.Go(func() { n.server.Serve(ports.rpc) })
	err := n.join(ctx, background)
	if err == nil {
		n.serving.Store(true)
		<-ctx.Done()
	}
	if errors.Is(err, ctx.Err()) {
		err = nil
	}
	stop()
	return errors.Join(err, n.close())
}

// take returns what runs under a name, and forgets it.
func (c *simCluster) take(name string) *simProcess {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.processes[name]
	dead := *p
	p.node, p.stop, p.done = nil, nil, nil
	return &dead
}

// running returns the node that runs under a name, nil if none does.
func (c *simCluster) running(name string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.processes[name].node
}

// crash ends a process as SIGKILL or a loss of power does. Its drives are copied while nothing moves, and the copies are those of its
// next life: what the dying process still does nobody sees.
func (c *simCluster) crash(name string, power bool) {
	c.t.Helper()
	dead := c.take(name)
	synctest.Wait()
	p := c.processes[name]
	p.life++
	for i, dir := range p.dirsOf(c.dir) {
		if err := os.CopyFS(dir, os.DirFS(dead.dirs[i])); err != nil {
			c.t.Fatal(err)
		}
	}
	if power {
		c.net.Vanish(p.ip)
	} else {
		c.net.Kill(p.ip)
	}
	dead.stop()
	c.ending.Go(func() {
		<-dead.done // what it complains of is its own
		for _, dir := range dead.dirs {
			os.RemoveAll(filepath.Dir(dir))
		}
	})
}

// end stops everything.
func (c *simCluster) end() {
	c.net.Heal()
	var stopping sync.WaitGroup
	for _, name := range c.names(rpc.Gateway | rpc.Storage | rpc.Meta) {
		c.net.Thaw(c.processes[name].ip)
		p := c.take(name)
		if p.node == nil {
			continue
		}
		p.stop()
		stopping.Go(func() {
			if err := <-p.done; err != nil {
				c.t.Errorf("%s: %v", name, err)
			}
		})
	}
	stopping.Wait()
	c.ending.Wait()
	c.report()
}

// report tells after a failure what was done, and how to see it again.
func (c *simCluster) report() {
	if !c.t.Failed() {
		return
	}
	dir, err := os.MkdirTemp("", "kintsugi-sim-logs-")
	if err != nil {
		c.t.Fatal(err)
	}
	for name, p := range c.processes {
		if err := os.WriteFile(filepath.Join(dir, name+".log"), p.log.bytes(), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	test, _, _ := strings.Cut(c.t.Name(), "/")
	c.t.Logf("replay: go test ./cmd/kintsugi -run '^%s$' -sim.seed=%d; logs are in %s", test, c.seed, dir)
	for _, line := range c.story {
		c.t.Log(line)
	}
}

// note remembers what is done to the cluster.
func (c *simCluster) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.story = append(c.story, fmt.Sprintf("%9.3f ", time.Since(c.began).Seconds())+fmt.Sprintf(format, args...))
}

// awaitReady waits until all processes run and take part.
func (c *simCluster) awaitReady(limit time.Duration) {
	c.t.Helper()
	c.await("the processes take part", limit, func() error {
		for _, name := range c.names(rpc.Gateway | rpc.Storage | rpc.Meta) {
			if n := c.running(name); n == nil || !n.isReady() {
				return fmt.Errorf("%s is not ready", name)
			}
		}
		return nil
	})
}

// await polls until f succeeds.
func (c *simCluster) await(what string, limit time.Duration, f func() error) {
	c.t.Helper()
	begun := time.Now()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Since(begun) > limit {
			c.t.Fatalf("%s: %v after %v", what, err, limit)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// simLog keeps what a process logs, with virtual times.
type simLog struct {
	began time.Time
	mu    sync.Mutex // guards text
	text  bytes.Buffer
}

func (l *simLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text.Len() > 4<<20 {
		return len(p), nil
	}
	fmt.Fprintf(&l.text, "%9.3f ", time.Since(l.began).Seconds())
	return l.text.Write(p)
}

func (l *simLog) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.text.Bytes())
}
