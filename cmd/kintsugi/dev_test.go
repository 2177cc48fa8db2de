package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fakeRoles makes the test binary stand in for the processes of a cluster. Its value says how they behave:
// "n2=unready,n3=die", and nothing for those that are well.
const fakeRoles = "KINTSUGI_TEST_FAKE_ROLES"

func isFakeRole() bool {
	_, fake := os.LookupEnv(fakeRoles)
	return fake && len(os.Args) > 1 && slices.Contains([]string{roleGateway, roleServer, roleStorage, roleMeta}, os.Args[1])
}

// runFakeRole is all that dev wants of a process: it answers whether it is ready, and ends when told to.
func runFakeRole() {
	flag := func(name string) string { return os.Args[slices.Index(os.Args, name)+1] }
	name := flag("--node")
	fmt.Println("this is", name)
	behaves := func(how string) bool { return strings.Contains(os.Getenv(fakeRoles), name+"="+how) }
	if behaves("die") {
		fmt.Println("cannot go on")
		os.Exit(3)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	http.HandleFunc("/health/ready", func(w http.ResponseWriter, _ *http.Request) {
		if behaves("unready") {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	go func() { fmt.Println(http.ListenAndServe(flag("--admin-addr"), nil)) }()
	<-ctx.Done()
}

// fakeDev runs dev in this process, its children being fakes.
type fakeDev struct {
	t    *testing.T
	cfg  devConfig
	out  *syncBuffer
	hup  chan os.Signal
	stop context.CancelFunc
	done chan error
}

func startFakeDev(t *testing.T, dir, behaviour string, shape devShape) *fakeDev {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	d := &fakeDev{t: t, out: &syncBuffer{}, hup: make(chan os.Signal, 1), stop: cancel, done: make(chan error, 1)}
	d.cfg = devConfig{dir: dir, shape: shape, program: os.Args[0], env: []string{fakeRoles + "=" + behaviour},
		outAfter: 5 * time.Second, readyWait: 10 * time.Second, grace: 5 * time.Second}
	if behaviour != "" {
		d.cfg.readyWait = 2 * time.Second
	}
	go func() { d.done <- runDev(ctx, d.cfg, d.hup, d.out) }()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Log(d.out)
		}
	})
	return d
}

func (d *fakeDev) wait() error {
	d.t.Helper()
	select {
	case err := <-d.done:
		return err
	case <-time.After(20 * time.Second):
		d.t.Fatal("dev does not end")
		return nil
	}
}

func (d *fakeDev) waitPrinted(text string) {
	d.t.Helper()
	poll(d.t, 20*time.Second, fmt.Sprintf("dev prints %q", text), func() bool { return strings.Contains(d.out.String(), text) })
}

func readCluster(t *testing.T, dir string) (f devFile) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, devClusterName))
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// isAlive tells whether there is such a process that is not a zombie. The first thread of one that was
// killed is, while others still wait for a disk.
func isAlive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // none if it is gone meanwhile
	return !strings.HasPrefix(rest, "Z") || len(threads) > 1
}

func TestDevRunsACluster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	d := startFakeDev(t, dir, "", devShape{storage: 3, metas: 3, gateways: 2, drives: 2})
	d.waitPrinted("ready s3=")
	f := readCluster(t, dir)
	if len(f.S3) != 2 || len(f.Processes) != 8 {
		t.Fatalf("got %d endpoints and %d processes, want 2 and 8", len(f.S3), len(f.Processes))
	}
	i := slices.IndexFunc(f.Processes, func(p devProcess) bool { return p.Node == "n2" })
	n2 := f.Processes[i]
	if n2.Role != roleStorage || len(n2.Dirs) != 2 || !strings.HasSuffix(n2.Dirs[1], "/n2/d2") || !isAlive(n2.PID) {
		t.Errorf("n2 is %+v", n2)
	}

	if err := syscall.Kill(n2.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.waitPrinted("n2 (storagenode) died: signal: killed")
	d.hup <- syscall.SIGHUP
	poll(t, 10*time.Second, "n2 has another process", func() bool { return readCluster(t, dir).Processes[i].PID != n2.PID })

	d.stop()
	if err := d.wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, devClusterName)); !os.IsNotExist(err) {
		t.Errorf("cluster.json after the end: %v", err)
	}
	for _, p := range f.Processes {
		if isAlive(p.PID) {
			t.Errorf("%s still runs", p.Node)
		}
	}

	again := startFakeDev(t, dir, "", devShape{storage: 4, metas: asItIs, gateways: asItIs, drives: 1})
	again.waitPrinted("ready s3=")
	g := readCluster(t, dir)
	if len(g.Processes) != 9 || g.Processes[i].Addr != n2.Addr || g.S3[0] != f.S3[0] {
		t.Errorf("after a second start with one node more there are %+v", g)
	}
	again.stop()
	if err := again.wait(); err != nil {
		t.Error(err)
	}
}

func TestDevFails(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, dir, behaviour string
		want, printed        string
	}{
		{name: "one dies", behaviour: "n2=die", want: "n2 died: exit status 3", printed: "cannot go on"},
		{name: "one is never ready", behaviour: "m1=unready", want: "not ready after 2s: m1", printed: "this is m1"},
		{name: "not its directory", dir: full, want: "not empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.dir == "" {
				c.dir = t.TempDir()
			}
			d := startFakeDev(t, c.dir, c.behaviour, devShape{storage: 2, metas: 1, gateways: 1, drives: 1})
			if err := d.wait(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if !strings.Contains(d.out.String(), c.printed) {
				t.Errorf("the end of the log is not printed: want %q", c.printed)
			}
		})
	}
}

// A second dev adds processes to a cluster that runs, and starts those that died.
func TestDevGrowsWhatRuns(t *testing.T) {
	dir := t.TempDir()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	first := startFakeDev(t, dir, "", devShape{storage: 1, metas: 1, gateways: 1, drives: 1})
	first.waitPrinted("ready s3=")
	if err := startFakeDev(t, dir, "", devShape{storage: 3, metas: asItIs, gateways: asItIs, drives: 2}).wait(); err != nil {
		t.Fatalf("a second dev: %v", err)
	}
	first.hup <- <-hup
	first.waitPrinted("n3 is started")
	poll(t, 10*time.Second, "the new ones are in cluster.json", func() bool { return len(readCluster(t, dir).Processes) == 5 })
	f := readCluster(t, dir)
	if n3 := f.Processes[4]; n3.Node != "n3" || len(n3.Dirs) != 2 || !isAlive(n3.PID) {
		t.Errorf("n3 is %+v", n3)
	}
	first.stop()
	if err := first.wait(); err != nil {
		t.Error(err)
	}
	for _, p := range f.Processes {
		if isAlive(p.PID) {
			t.Errorf("%s still runs", p.Node)
		}
	}
}

// Whatever ends dev, its processes end, too.
func TestDevIsKilled(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "dev", "--dir", dir, "--nodes", "2", "--metas", "1", "--gateways", "1")
	cmd.Env = append(os.Environ(), runAsKintsugi+"=1", fakeRoles+"=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	poll(t, 20*time.Second, "cluster.json is there", func() bool {
		_, err := os.Stat(filepath.Join(dir, devClusterName))
		return err == nil
	})
	f := readCluster(t, dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for _, p := range f.Processes {
		poll(t, 10*time.Second, p.Node+" ends", func() bool { return !isAlive(p.PID) })
	}
}

func TestDevLayoutGrows(t *testing.T) {
	ports := func() func() (int, error) {
		port := 9000
		return func() (int, error) { port++; return port - 1, nil }
	}
	for _, c := range []struct {
		name string
		have []devNode
		want devShape
		err  error
		got  string // name:s3/rpc/admin/drives of all
	}{
		{"new", nil, devShape{storage: 2, metas: 1, gateways: 2, drives: 1}, nil,
			"g1:9000/9002/9003/0 g2:9001/9004/9005/0 m1:0/9006/9007/1 n1:0/9008/9009/1 n2:0/9010/9011/1"},
		{"servers", nil, devShape{asItIs, asItIs, asItIs, 2, 3}, nil, "s1:9000/9002/9003/3 s2:9001/9004/9005/3"},
		{"what was not asked for stays", []devNode{{roleStorage, "n1", 1, 2, 0, 3}, {roleMeta, "m1", 3, 4, 0, 1}, {roleGateway, "g1", 5, 6, 7, 0}},
			devShape{2, asItIs, asItIs, asItIs, 1}, nil, "n1:0/1/2/3 m1:0/3/4/1 g1:7/5/6/0 n2:0/9000/9001/1"},
		{"fewer", []devNode{{roleMeta, "m1", 1, 2, 0, 1}, {roleMeta, "m2", 3, 4, 0, 1}}, devShape{1, 1, 1, 0, 1}, errFewer, ""},
		{"none to ask", nil, devShape{2, 1, 0, 0, 1}, errNoCluster, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := devLayout{Nodes: c.have}.grow(c.want, ports())
			if c.err != nil {
				if !errors.Is(err, c.err) {
					t.Fatalf("got %v, want %v", err, c.err)
				}
				return
			}
			var got []string
			for _, n := range l.Nodes {
				got = append(got, fmt.Sprintf("%s:%d/%d/%d/%d", n.Name, n.S3, n.RPC, n.Admin, n.Drives))
			}
			if text := strings.Join(got, " "); err != nil || text != c.got {
				t.Errorf("got %v %v,\nwant %v", text, err, c.got)
			}
		})
	}
}
