package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
	"kintsugi/meta"
	"kintsugi/meta/raftnet"
)

// The tests of this file run members in processes of their own, which can be killed and stopped.

const childEnv = "KINTSUGI_TEST_MEMBER"

const (
	methodPut rpc.Method = 240 // head: a value; written under one key
	methodGet rpc.Method = 241 // answer: the value
)

// childConfig is what a process is told.
type childConfig struct {
	Dir, Secret string
	Self        int
	IDs         []uint64
	Addrs       []string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Alive implements Peers: nobody is given up.
func (c childConfig) Alive() []uint64 { return c.IDs }

func (c childConfig) resolve(id uint64) (string, bool) {
	i := slices.Index(c.IDs, id)
	if i < 0 {
		return "", false
	}
	return c.Addrs[i], true
}

func (c childConfig) rpcConfig() (rpc.Config, error) {
	sec, err := secret.Load(c.Secret)
	return rpc.Config{Self: rpc.Identity{Node: fmt.Sprint("node", c.Self), Roles: rpc.Meta, Incarnation: uint64(os.Getpid())}, Secret: sec}, err
}

func runChild(text string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	cfg, err := c.rpcConfig()
	if err != nil {
		return err
	}
	client, err := rpc.NewClient(cfg)
	if err != nil {
		return err
	}
	server, err := rpc.NewServer(cfg)
	if err != nil {
		return err
	}
	transport, err := raftnet.New(raftnet.Config{Client: client, Resolve: c.resolve})
	if err != nil {
		return err
	}
	transport.Handle(server)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", c.Self)
	member, err := Found(MemberConfig{Groups: 1, Transport: transport, Peers: c, Logger: log}, Drive{Dir: c.Dir}, c.IDs[c.Self], c.IDs)
	if err != nil {
		return err
	}
	handleRegister(server, meta.NewClient(member))
	l, err := net.Listen("tcp", c.Addrs[c.Self])
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, func() {
		member.Close()
		server.Close()
	})
	return server.Serve(l)
}

// handleRegister serves one register, on this process only.
func handleRegister(s *rpc.Server, c *meta.Client) {
	s.Handle(methodPut, rpc.Meta, func(ctx context.Context, r *rpc.Request) error {
		if err := c.CreateBucket(ctx, meta.Bucket{Name: "bucket"}); err != nil && !errors.Is(err, meta.ErrBucketExists) {
			return &rpc.StatusError{Code: 20, Detail: []byte(err.Error())}
		}
		v := meta.Version{ETag: string(r.Head), Checksum: meta.Checksum{Algorithm: meta.CRC64NVME, Value: make([]byte, 8)}}
		if _, err := c.PutObject(ctx, meta.PutObject{Bucket: "bucket", Key: "key", Version: v}); err != nil {
			return &rpc.StatusError{Code: 21, Detail: []byte(err.Error())}
		}
		return nil
	})
	s.Handle(methodGet, rpc.Meta, func(ctx context.Context, r *rpc.Request) error {
		v, err := c.Object(ctx, meta.GetObject{Bucket: "bucket", Key: "key"})
		if err != nil {
			return &rpc.StatusError{Code: 22, Detail: []byte(err.Error())}
		}
		return r.Reply([]byte(v.ETag), nil)
	})
}

// processes is a cluster of members in processes.
type processes struct {
	t      *testing.T
	cfg    childConfig
	dirs   []string
	cmds   []*exec.Cmd
	client *rpc.Client
	value  int
	leader int // that took the last value
}

func startProcesses(t *testing.T, n int) *processes {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	p := &processes{t: t, cmds: make([]*exec.Cmd, n)}
	p.cfg.Secret = filepath.Join(t.TempDir(), "secret")
	if _, err := secret.Create(p.cfg.Secret); err != nil {
		t.Fatal(err)
	}
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		p.cfg.IDs, p.cfg.Addrs = append(p.cfg.IDs, NewHostID()), append(p.cfg.Addrs, l.Addr().String())
		p.dirs = append(p.dirs, t.TempDir())
	}
	for i := range n {
		p.start(i)
	}
	cfg, err := p.cfg.rpcConfig()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Self.Node = "driver"
	if p.client, err = rpc.NewClient(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.client.Close() })
	p.put()
	return p
}

func (p *processes) start(i int) {
	p.t.Helper()
	cfg := p.cfg
	cfg.Self, cfg.Dir = i, p.dirs[i]
	text, err := json.Marshal(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	if !testing.Verbose() {
		cmd.Stderr = nil
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.cmds[i] = cmd
	p.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

func (p *processes) signal(i int, s syscall.Signal) {
	p.t.Helper()
	if err := p.cmds[i].Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *processes) call(i int, method rpc.Method, head string, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), timeout)
	defer cancel()
	reply, err := p.client.Do(ctx, p.cfg.Addrs[i], &rpc.Call{Method: method, Head: []byte(head), Idempotent: true})
	return string(reply.Head), err
}

// put writes the next value through whoever takes it, and returns how long that took.
func (p *processes) put(not ...int) time.Duration {
	p.t.Helper()
	p.value++
	start := time.Now()
	for {
		for i := range p.cmds {
			if slices.Contains(not, i) {
				continue
			}
			if _, err := p.call(i, methodPut, strconv.Itoa(p.value), 500*time.Millisecond); err == nil {
				p.leader = i
				return time.Since(start)
			}
		}
		if time.Since(start) > 20*time.Second {
			p.t.Fatal("no write for 20 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// follows waits until a process that was started again follows a leader.
func (p *processes) follows(i int) {
	p.t.Helper()
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		_, err := p.call(i, methodGet, "", time.Second)
		if err == nil || strings.Contains(err.Error(), "not the leader") && !strings.Contains(err.Error(), "that is 0") {
			return
		}
		if time.Since(start) > 10*time.Second {
			p.t.Fatalf("process %d does not follow: %v", i, err)
		}
	}
}

// maxGap is for how long there may be no leader.
const maxGap = 1500 * time.Millisecond

func TestProcessKilled(t *testing.T) {
	p := startProcesses(t, 3)
	for range 3 {
		for range 20 {
			p.put()
		}
		lost := p.leader
		p.signal(lost, syscall.SIGKILL)
		p.cmds[lost].Wait()
		gap := p.put(lost)
		t.Logf("leader killed: %v without writes", gap)
		if gap > maxGap {
			t.Errorf("%v without writes", gap)
		}
		p.start(lost)
		p.follows(lost)
		want := strconv.Itoa(p.value)
		if got, err := p.call(p.leader, methodGet, "", 5*time.Second); err != nil || got != want {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
	}
}

func TestProcessTerminated(t *testing.T) {
	p := startProcesses(t, 3)
	for range 3 {
		lost := p.leader
		p.signal(lost, syscall.SIGTERM)
		gap := p.put(lost)
		t.Logf("leader ended: %v without writes", gap)
		if gap > maxGap/2 {
			t.Errorf("%v without writes", gap)
		}
		p.cmds[lost].Wait()
		p.start(lost)
		p.follows(lost)
		for range 20 {
			p.put()
		}
	}
}

// A leader that was stopped finds, when it wakes up, reads that came meanwhile. It must not answer them from what it has.
func TestProcessStopped(t *testing.T) {
	p := startProcesses(t, 3)
	for range 3 {
		p.put()
		old := p.leader
		p.call(old, methodGet, "", time.Second) // a connection that is there already
		p.signal(old, syscall.SIGSTOP)
		type result struct {
			value string
			err   error
		}
		results := make(chan result, 8)
		gap := p.put(old)
		t.Logf("leader stopped: %v without writes", gap)
		if gap > maxGap+500*time.Millisecond { // a call to a follower without a leader may hang for half a second
			t.Errorf("%v without writes", gap)
		}
		for range 20 {
			p.put(old)
		}
		for range cap(results) {
			go func() {
				v, err := p.call(old, methodGet, "", 3*time.Second)
				results <- result{v, err}
			}()
		}
		time.Sleep(50 * time.Millisecond) // the calls are in its sockets
		p.signal(old, syscall.SIGCONT)
		for range cap(results) {
			if r := <-results; r.err == nil && r.value != strconv.Itoa(p.value) {
				t.Errorf("a stopped leader says %q after %d was written", r.value, p.value)
			} else if r.err != nil && !strings.Contains(r.err.Error(), "status") {
				t.Logf("read of a stopped leader: %v", r.err)
			}
		}
	}
}
