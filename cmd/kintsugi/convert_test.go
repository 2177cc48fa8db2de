package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kintsugi/cmd/kintsugi/admin"
	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
	"kintsugi/meta/replica"
)

// trio is three servers that form a cluster; the first has the drives of a store that lived in one process.
type trio struct {
	t       *testing.T
	secret  *secret.Secret
	addrs   []string
	args    [3][]string
	dirs    [3][]string
	servers [3]*process
}

// newTrio decides on everything and starts nothing.
func newTrio(t *testing.T, store []string) *trio {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster of processes")
	}
	c := &trio{t: t, dirs: [3][]string{store, tempDrives(t, 2), tempDrives(t, 2)}}
	secretFile := filepath.Join(t.TempDir(), "secret")
	var err error
	c.secret, err = secret.Create(secretFile)
	must(t, err)
	next := portsFrom(0, nil)
	for range c.args {
		port, err := next()
		must(t, err)
		c.addrs = append(c.addrs, loopback(port))
	}
	for i, name := range []string{"first", "second", "third"} {
		c.args[i] = []string{
			"--join", strings.Join(c.addrs, ","), "--cluster-secret-file", secretFile, "--node", name, "--rpc-addr", c.addrs[i],
		}
	}
	return c
}

// joinStore makes the store the first node and starts two others.
func joinStore(t *testing.T, store []string) *trio {
	t.Helper()
	c := newTrio(t, store)
	for i := range c.servers {
		c.start(i)
	}
	return c
}

func (c *trio) start(i int) {
	c.t.Helper()
	c.servers[i] = startProcess(c.t, c.dirs[i], c.args[i]...)
}

// check looks for the keepsakes through every server.
func (c *trio) check() {
	c.t.Helper()
	for _, p := range c.servers {
		checkKeepsakes(c.t, p.client())
	}
	checkUnfinished(c.t, c.servers[2].client())
}

// awaitVoters waits until every metadata group has three of them.
func (c *trio) awaitVoters() {
	c.t.Helper()
	caller, err := rpc.NewClient(rpc.Config{Self: rpc.Identity{Node: "test", Roles: rpc.Admin, Incarnation: 1}, Secret: c.secret})
	must(c.t, err)
	defer caller.Close()
	client := admin.NewClient(caller, c.addrs)
	poll(c.t, time.Minute, "there are three voters everywhere", func() bool {
		s, err := client.Status(c.t.Context(), false)
		return err == nil && len(s.Metadata.Groups) > 0 && !slices.ContainsFunc(s.Metadata.Groups, func(g admin.Group) bool {
			return len(g.Voters) != len(c.servers)
		})
	})
}

// A store that lived in one process goes on as the first node of a cluster, and then does not depend on that node.
func TestClusterConvert(t *testing.T) {
	withoutRaceDetector(t)
	p := startProcess(t, tempDrives(t, 6))
	putKeepsakes(t, p.client())
	p.stop()
	c := joinStore(t, p.dirs)
	c.check()
	c.awaitVoters()
	c.servers[1].kill()
	checkKeepsakes(t, c.servers[2].client())
	must(t, put(t.Context(), c.servers[2].client(), keepsakeEmpty, "later", keepsake("later", 0, 300_000)))
	c.start(1)
	c.servers[0].stop()
	c.start(0)
	got, err := get(t.Context(), c.servers[0].client(), keepsakeEmpty, "later")
	if err != nil || len(got) != 300_000 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	checkKeepsakes(t, c.servers[0].client())
}

// A conversion that ends with the power is completed by the next start.
func TestClusterConvertKilled(t *testing.T) {
	withoutRaceDetector(t)
	replicas := func(dirs []string) (n int) {
		for _, dir := range dirs {
			if _, ok, err := replica.MemberRecord(dir); ok && err == nil {
				n++
			}
		}
		return n
	}
	hasRecord := func(dir string) bool {
		_, err := os.Stat(clusterRecordPath(dir))
		return err == nil
	}
	type state struct {
		log      string
		dirs     []string
		replicas int // at first
	}
	hasBegun := func(s state) bool {
		return strings.Contains(s.log, "a store in one process becomes the first node")
	}
	cases := []struct {
		name  string
		at    func(state) bool
		later time.Duration // than at
	}{
		{"as it begins", hasBegun, 0},
		{"a little later", hasBegun, 30 * time.Millisecond},
		{"while groups lose their members", hasBegun, 150 * time.Millisecond},
		{"while replicas are removed", func(s state) bool { return replicas(s.dirs) < s.replicas }, 0},
		{"as the founding is noted", func(s state) bool { return slices.ContainsFunc(s.dirs, hasRecord) }, 0},
	}
	archive, err := filepath.Glob(archives)
	must(t, err)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			dirs := unpack(t, archive[len(archive)-1])
			c, before := newTrio(t, dirs), replicas(dirs)
			c.convertUntil(func(log string) bool { return tc.at(state{log, dirs, before}) }, tc.later)
			t.Logf("left: %d replicas of %d, record %t", replicas(dirs), before, slices.ContainsFunc(dirs, hasRecord))
			c.start(0)
			checkKeepsakes(t, c.servers[0].client())
			if n := replicas(dirs); n != 1 {
				t.Errorf("%d replicas are there, want one", n)
			}
		})
	}
}

// convertUntil starts the first server and kills it a while after reached says so.
func (c *trio) convertUntil(reached func(log string) bool, later time.Duration) {
	c.t.Helper()
	args := append([]string{"server", "--s3-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"}, c.args[0]...)
	cmd, log := exec.Command(os.Args[0], append(args, c.dirs[0]...)...), &syncBuffer{}
	cmd.Env, cmd.Stderr = append(os.Environ(), runAsKintsugi+"=1"), log
	must(c.t, cmd.Start())
	deadline := time.Now().Add(time.Minute)
	for !reached(log.String()) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // between two looks
	}
	time.Sleep(later) // the point within the conversion: not a state to wait for
	must(c.t, cmd.Process.Signal(syscall.SIGKILL))
	if err := cmd.Wait(); err == nil || !time.Now().Before(deadline) {
		c.t.Fatal(fmt.Errorf("it ended by itself or took too long: %w\n%s", err, log))
	}
}

// Only a process that can be a metadata node takes over a store; others refuse it and touch nothing.
func TestConvertRefused(t *testing.T) {
	archive, err := filepath.Glob(archives)
	must(t, err)
	dirs := unpack(t, archive[0])
	c, before := newTrio(t, dirs), snapshotTree(t, dirs)
	args := append([]string{"storagenode", "--admin-addr", "127.0.0.1:0"}, c.args[0]...)
	stderr, err := runToEnd(t, append(args, dirs...)...)
	if err == nil || !strings.Contains(stderr, "belong to a store in one process") {
		t.Errorf("a storage node: %v, %s", err, stderr)
	}
	if after := snapshotTree(t, dirs); after != before {
		t.Errorf("files were changed:\n%s\nbefore:\n%s", after, before)
	}
}
