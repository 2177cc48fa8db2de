package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kintsugi/cmd/kintsugi/admin"
	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
)

// intruder is a process that is started beside the cluster.
type intruder struct {
	cmd   *exec.Cmd
	log   *syncBuffer
	admin string
	ended chan struct{}
}

// startBeside starts a process with the arguments of a storage node of the cluster; the later of two flags counts.
func (c *testCluster) startBeside(dir string, args ...string) *intruder {
	c.t.Helper()
	next := portsFrom(0, nil)
	var ports [2]int
	for i := range ports {
		var err error
		if ports[i], err = next(); err != nil {
			c.t.Fatal(err)
		}
	}
	model := c.process("n1").Command
	all := append([]string{roleStorage, "--node", "n99"}, model[4:len(model)-1]...)
	all = append(all, "--rpc-addr", loopback(ports[0]), "--admin-addr", loopback(ports[1]))
	p := &intruder{log: &syncBuffer{}, admin: "http://" + loopback(ports[1]), ended: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], append(append(all, args...), dir)...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = append(os.Environ(), c.cfg.env...), p.log, p.log
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is in its log
	}()
	c.t.Cleanup(p.kill)
	return p
}

func (p *intruder) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

func (p *intruder) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Who is not of the cluster cannot become part of it by mistake, and is told why.
func TestClusterRefusesIntruders(t *testing.T) {
	c := startCluster(t, devShape{storage: 6, metas: 1, gateways: 1})
	elsewhere := t.TempDir()
	if _, err := secret.Create(filepath.Join(elsewhere, "secret")); err != nil {
		t.Fatal(err)
	}
	other := startProcess(t, []string{filepath.Join(elsewhere, "foreign")})
	other.stop()
	for _, i := range []struct {
		name, dir string
		args      []string
		want      string // in its log
	}{
		{"another secret", "d1", []string{"--cluster-secret-file", filepath.Join(elsewhere, "secret")}, "is the cluster secret the same"},
		{"a name that is taken", "d2", []string{"--node", "n2"}, "another node named n2"},
		{"a drive of another cluster", "foreign", nil, "belong to cluster"},
	} {
		t.Run(i.name, func(t *testing.T) {
			dir := filepath.Join(elsewhere, i.dir)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			p := c.startBeside(dir, i.args...)
			defer func() { t.Log(tail(p.log.String(), 5)) }()
			poll(t, 15*time.Second, "it is refused, and says why: "+i.want, func() bool {
				return strings.Contains(p.log.String(), i.want) || p.hasEnded()
			})
			if _, err := c.glance(p.admin + "/health/ready"); err == nil {
				t.Error("it is ready")
			}
			p.kill()
			c.waitStatus(10*time.Second, "the cluster is as it was", func(s admin.Status) bool {
				return areUp(s) && len(s.Drives) == 6 && isUp(s, "n2")
			})
		})
	}
}

// A copy of a drive is not a drive.
func TestClusterRefusesADriveTwice(t *testing.T) {
	c := startCluster(t, devShape{storage: 6, metas: 1, gateways: 1})
	l := newClusterLoad(t, c.endpoints(), 2, 8, 9)
	original, double := c.process("n3").Dirs[0], filepath.Join(t.TempDir(), "double")
	c.kill("n3")
	if out, err := exec.Command("cp", "-a", original, double).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.revive()
	l.start()
	p := c.startBeside(double)
	defer func() { t.Log(tail(p.log.String(), 8)) }()
	poll(t, 15*time.Second, "the double is refused", func() bool {
		return strings.Contains(p.log.String(), errTwice.Error())
	})
	l.runFor(2 * time.Second)
	p.kill()
	l.end()
	c.waitStatus(30*time.Second, "n3 is up and all is redundant", func(s admin.Status) bool {
		return isUp(s, "n3") && driveStates(s)["n3"][0] == "up" && isRedundant(s)
	})
	l.checkAll()
}

// whatStrangersSay is sent to every port between nodes.
func whatStrangersSay() map[string][]byte {
	return map[string][]byte{
		"nothing":     nil,
		"HTTP":        []byte("GET / HTTP/1.1\r\nHost: kintsugi\r\n\r\n"),
		"noise":       randomBytes(4096),
		"zeros":       make([]byte, 4096),
		"the longest": bytes.Repeat([]byte{0xff}, 64<<10),
	}
}

// Strangers get no byte from any port between nodes.
func TestClusterTellsStrangersNothing(t *testing.T) {
	c := startCluster(t, devShape{storage: 6, metas: 1, gateways: 1})
	for _, p := range c.processes() {
		for name, text := range whatStrangersSay() {
			t.Run(p.Node+" "+name, func(t *testing.T) {
				t.Parallel()
				conn, err := net.Dial("tcp", p.Addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_, _ = conn.Write(text) // it may be refused halfway
				if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(conn)
				if len(got) > 0 {
					t.Errorf("got %d bytes: %.40q", len(got), got)
				}
				if e, ok := err.(net.Error); ok && e.Timeout() {
					t.Error("the connection is still open after 10 s")
				}
			})
		}
	}
	t.Run("TLS", func(t *testing.T) {
		for _, p := range c.processes() {
			conn, err := tls.Dial("tcp", p.Addr, &tls.Config{InsecureSkipVerify: true})
			if err == nil {
				_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the client's certificate is judged later
				conn.Close()
			}
			if err == nil {
				t.Errorf("%s talks TLS to a stranger", p.Node)
			}
		}
	})
	t.Run("another secret", func(t *testing.T) { c.callWithAnotherSecret(t) })
	t.Run("admin ports", func(t *testing.T) {
		for _, p := range c.processes() {
			for _, path := range []string{"/", "/metrics", "/status", "/debug/pprof/", "/../cluster.secret"} {
				resp, err := http.Get(p.Admin + path)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode < 400 {
					t.Errorf("%s%s: %s", p.Admin, path, resp.Status)
				}
			}
		}
	})
}

func (c *testCluster) callWithAnotherSecret(t *testing.T) {
	other, err := secret.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := rpc.NewClient(rpc.Config{Self: rpc.Identity{Node: "n1", Roles: rpc.Admin | rpc.Meta, Incarnation: 1}, Secret: other})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, p := range c.processes() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		reply, err := client.Do(ctx, p.Addr, &rpc.Call{Method: admin.MethodWho, Head: fmt.Appendf(nil, `{"format":1}`)})
		cancel()
		if err == nil {
			t.Errorf("%s answers %q to another secret", p.Node, reply.Body)
		}
	}
}
