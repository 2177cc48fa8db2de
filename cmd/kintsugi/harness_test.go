package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// runAsKintsugi makes the test binary behave as the real program: so that a
// test can start it as a process of its own, and kill it.
const runAsKintsugi = "KINTSUGI_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if isFakeRole() {
		runFakeRole()
		return
	}
	if os.Getenv(runAsKintsugi) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const (
	testAccessKey = "test-access-key"
	testSecretKey = "test-secret-key"
)

// process is a server in a process of its own.
type process struct {
	t        *testing.T
	dirs     []string
	args     []string // before the directories
	cmd      *exec.Cmd
	endpoint string
	admin    string
	log      *syncBuffer
	ended    chan struct{}
	exit     error // after ended
}

// syncBuffer takes the log of a process while a test may read it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// tempDrives names n drive directories that do not exist yet.
func tempDrives(t *testing.T, n int) []string {
	t.Helper()
	root := t.TempDir()
	dirs := make([]string, n)
	for i := range dirs {
		dirs[i] = filepath.Join(root, fmt.Sprint("d", i+1))
	}
	return dirs
}

// startProcess starts a server on dirs and waits for its ready line. The test ends it.
func startProcess(t *testing.T, dirs []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, dirs: dirs, args: args, log: &syncBuffer{}}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("server log:\n%s", tail(p.log.String(), 60))
		}
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	args := append([]string{"server", "--s3-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--rpc-addr", "127.0.0.1:0"}, p.args...)
	p.cmd = exec.Command(os.Args[0], append(args, p.dirs...)...)
	p.cmd.Env = append(os.Environ(), runAsKintsugi+"=1",
		"KINTSUGI_ROOT_ACCESS_KEY="+testAccessKey, "KINTSUGI_ROOT_SECRET_KEY="+testSecretKey)
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ready := make(chan bool, 1)
	p.ended = make(chan struct{})
	go func(ended chan struct{}) {
		ready <- p.readReady(out)
		_, _ = io.Copy(io.Discard, out)
		p.exit = p.cmd.Wait()
		close(ended)
	}(p.ended)
	select {
	case ok := <-ready:
		if !ok {
			<-p.ended
			p.t.Fatalf("the server did not start: %v\n%s", p.exit, p.log)
		}
	case <-time.After(60 * time.Second):
		p.t.Fatalf("the server was not ready within a minute\n%s", p.log)
	}
}

// readReady reads up to the line that says where the server listens.
func (p *process) readReady(out io.Reader) bool {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "ready ") {
			continue
		}
		for _, field := range strings.Fields(lines.Text()) {
			switch name, value, _ := strings.Cut(field, "="); name {
			case "s3":
				p.endpoint = value
			case "admin":
				p.admin = value
			}
		}
		return true
	}
	return false
}

// kill ends the process at once, as a power switch would.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	<-p.ended
}

// stop ends the process as an operator would and wants exit code 0.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.ended:
		if p.exit != nil {
			p.t.Fatalf("a graceful stop ended with %v\n%s", p.exit, p.log)
		}
	case <-time.After(40 * time.Second):
		p.t.Fatal("the server did not stop")
	}
}

// serverStatus is what the tests need of /status.
type serverStatus struct {
	Ready  bool
	Moving int `json:"partitionsMoving"`
	Repair struct{ PendingShards, PendingPartitions int }
	Drives []struct {
		State string
		Used  uint64 `json:"usedBytes"`
	}
	Redundancy map[string]int `json:"chunksByRedundancy"`
	Replicas   struct{ Voters, Alive, Want int }
}

func (s serverStatus) isWhole() bool {
	if !s.Ready || s.Moving > 0 || s.Repair.PendingShards > 0 || s.Repair.PendingPartitions > 0 || s.Replicas.Alive < s.Replicas.Want || s.Replicas.Voters != s.Replicas.Want {
		return false
	}
	for _, d := range s.Drives {
		if d.State != "open" {
			return false
		}
	}
	for live := range s.Redundancy {
		if live != "whole" {
			return false
		}
	}
	return true
}

func (p *process) status() (serverStatus, string) {
	var s serverStatus
	text, err := fetch(p.admin + "/status")
	if err == nil {
		err = json.Unmarshal([]byte(text), &s)
	}
	if err != nil {
		return serverStatus{}, err.Error()
	}
	return s, text
}

func fetch(url string) (string, error) {
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(data), err
}

// metric sums the samples of a counter over its labels.
func (p *process) metric(name string) float64 {
	p.t.Helper()
	text, err := fetch(p.admin + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	sum := 0.0
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{[^}]*\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			p.t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// client speaks S3 to the server with retries off: every error is seen.
func (p *process) client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(p.endpoint), Region: "us-east-1", UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: testAccessKey, SecretAccessKey: testSecretKey}, nil
		}),
		HTTPClient: &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 128}},
	})
}

// body returns the bytes that a test keeps under key in a version: no need to remember them.
func body(key string, version, size int) []byte {
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("%s/%d", key, version))
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

func put(ctx context.Context, c *s3.Client, bucket, key string, data []byte) error {
	_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(data)})
	return err
}

func get(ctx context.Context, c *s3.Client, bucket, key string) ([]byte, error) {
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

func mustCreateBucket(t *testing.T, c *s3.Client, bucket string) {
	t.Helper()
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
}

// errorCode is the S3 error code of err, or "".
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// poll waits until done says true, and fails the test after limit.
func poll(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("after %s still not: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// isFull tells whether a test runs at the size that a release is judged by.
func isFull() bool { return os.Getenv("FULL") != "" }
