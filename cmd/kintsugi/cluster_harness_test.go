package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kintsugi/cmd/kintsugi/admin"
	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
)

// testCluster is a cluster of real processes, run by dev.
type testCluster struct {
	t      *testing.T
	cfg    devConfig
	out    *syncBuffer
	hup    chan os.Signal
	stop   context.CancelFunc
	done   chan struct{}
	err    error  // after done
	token  string // of the admin ports
	caller *rpc.Client
	admin  *admin.Client
}

// startCluster runs a cluster until the test ends. Only the counts of shape that are not 0 matter.
func startCluster(t *testing.T, shape devShape) *testCluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster of processes")
	}
	shape.drives = max(shape.drives, 1)
	c := &testCluster{t: t, cfg: devConfig{
		dir: filepath.Join(t.TempDir(), "cluster"), shape: shape, code: "4+2", outAfter: 5 * time.Second,
		program: os.Args[0], readyWait: time.Minute, grace: 20 * time.Second,
		env: []string{runAsKintsugi + "=1", "KINTSUGI_ROOT_ACCESS_KEY=" + testAccessKey, "KINTSUGI_ROOT_SECRET_KEY=" + testSecretKey},
	}}
	c.run()
	t.Cleanup(func() {
		c.end()
		c.checkLogs()
	})
	return c
}

// withoutRaceDetector skips what takes too long with it: all processes of a cluster have it, too. make test-cluster
// runs everything.
func withoutRaceDetector(t *testing.T) {
	t.Helper()
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("not with the race detector: make test-cluster")
	}
}

// run starts dev and waits until the cluster is ready.
func (c *testCluster) run() {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c.out, c.hup, c.stop, c.done = &syncBuffer{}, make(chan os.Signal, 1), cancel, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		c.err = runDev(ctx, c.cfg, c.hup, c.out)
	}(c.done)
	poll(c.t, 2*time.Minute, "the cluster is ready", func() bool {
		select {
		case <-c.done:
			c.t.Fatalf("%v\n%s", c.err, c.out)
		default:
		}
		return strings.Contains(c.out.String(), "ready s3=")
	})
	c.connect()
}

// grow adds processes while the cluster runs, as a second dev does.
func (c *testCluster) grow(shape devShape) {
	c.t.Helper()
	c.cfg.shape = shape
	dir := &devDir{path: c.cfg.dir}
	l, err := dir.layout(c.cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.hup <- syscall.SIGHUP
	poll(c.t, 10*time.Second, "the new processes are started", func() bool { return len(c.processes()) == len(l.Nodes) })
	c.waitReady()
}

// waitReady waits until every process says so.
func (c *testCluster) waitReady() {
	c.t.Helper()
	poll(c.t, time.Minute, "all are ready", func() bool {
		for _, p := range c.processes() {
			if _, err := c.glance(p.Admin + "/health/ready"); err != nil {
				return false
			}
		}
		return true
	})
}

// connect makes the admin client.
func (c *testCluster) connect() {
	c.t.Helper()
	s, err := secret.Load(filepath.Join(c.cfg.dir, devSecretName))
	if err != nil {
		c.t.Fatal(err)
	}
	c.token = adminToken(s)
	c.caller, err = rpc.NewClient(rpc.Config{Self: rpc.Identity{Node: "test", Roles: rpc.Admin, Incarnation: 1}, Secret: s})
	if err != nil {
		c.t.Fatal(err)
	}
	var addrs []string
	for _, p := range c.processes() {
		addrs = append(addrs, p.Addr)
	}
	c.admin = admin.NewClient(c.caller, addrs)
}

// end stops the cluster as Ctrl-C does.
func (c *testCluster) end() {
	c.stop()
	<-c.done
	if c.err != nil {
		c.t.Error(c.err)
	}
	if err := c.caller.Close(); err != nil {
		c.t.Error(err)
	}
}

// checkLogs looks for what must never be in a log, and shows the logs of a failed test.
func (c *testCluster) checkLogs() {
	logs, err := filepath.Glob(filepath.Join(c.cfg.dir, "*.log"))
	if err != nil || len(logs) == 0 {
		c.t.Errorf("logs: %v, %v", logs, err)
	}
	never := regexp.MustCompile(`DATA RACE|panic|fatal error:`)
	for _, name := range logs {
		data, err := os.ReadFile(name)
		if err != nil {
			c.t.Error(err)
		}
		if at := never.FindIndex(data); at != nil {
			c.t.Errorf("%s:\n%s", filepath.Base(name), data[max(0, at[0]-500):min(len(data), at[0]+4000)])
		}
	}
	if c.t.Failed() {
		c.t.Logf("dev:\n%s", tail(c.out.String(), 30))
		c.keepLogs(logs)
	}
}

// keepLogs shows the end of each log, and keeps them where CLUSTER_LOGS says.
func (c *testCluster) keepLogs(logs []string) {
	for _, name := range logs {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		c.t.Logf("%s:\n%s", filepath.Base(name), tail(string(data), 12))
		if dir := os.Getenv("CLUSTER_LOGS"); dir != "" {
			_ = os.WriteFile(filepath.Join(dir, filepath.Base(name)), data, 0o600) // for a person, who sees if it is not there
		}
	}
}

func (c *testCluster) processes() []devProcess { return readCluster(c.t, c.cfg.dir).Processes }

func (c *testCluster) endpoints() []string { return readCluster(c.t, c.cfg.dir).S3 }

// process returns what cluster.json says of a node.
func (c *testCluster) process(node string) devProcess {
	c.t.Helper()
	all := c.processes()
	i := slices.IndexFunc(all, func(p devProcess) bool { return p.Node == node })
	if i < 0 {
		c.t.Fatalf("there is no node %s", node)
	}
	return all[i]
}

// figure prints a line of the table that make cluster-figures shows.
func figure(t *testing.T, format string, args ...any) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(fmt.Sprintf(format, args...))) {
		t.Logf("figure: %-34s %s", strings.TrimPrefix(t.Name(), "TestCluster"), strings.TrimRight(line, "\n"))
	}
}

// names returns the nodes of a role.
func (c *testCluster) names(role string) (all []string) {
	for _, p := range c.processes() {
		if p.Role == role {
			all = append(all, p.Node)
		}
	}
	return all
}

func (c *testCluster) signal(sig syscall.Signal, nodes ...string) {
	c.t.Helper()
	for _, node := range nodes {
		if err := syscall.Kill(c.process(node).PID, sig); err != nil {
			c.t.Fatalf("%s: %v", node, err)
		}
	}
}

// kill ends nodes as a power switch would: all at once.
func (c *testCluster) kill(nodes ...string) {
	c.t.Helper()
	var pids []int
	for _, node := range nodes {
		pids = append(pids, c.process(node).PID)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, pid := range pids {
		poll(c.t, 30*time.Second, "the process is gone", func() bool { return !isAlive(pid) })
	}
}

// revive starts the dead again and waits until all are ready.
func (c *testCluster) revive() {
	c.t.Helper()
	before := c.processes()
	c.hup <- syscall.SIGHUP
	poll(c.t, 30*time.Second, "the dead are started again", func() bool {
		after := c.processes()
		for i, p := range before {
			if !isAlive(p.PID) && after[i].PID == p.PID {
				return false
			}
		}
		return true
	})
	c.waitReady()
}
