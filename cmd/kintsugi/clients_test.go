package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clientTest is what the test of one client has at hand.
type clientTest struct {
	server *process
	source string // a tree of files that every client copies there and back
}

// TestClients lets the programs that people use store and get real data. A client
// that is not installed is skipped. FULL=1 takes the whole source of Go and 3 GiB for
// the large file.
func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server and real clients")
	}
	c := &clientTest{source: filepath.Join(goSource(t), "net")}
	if isFull() {
		c.source = goSource(t)
	}
	c.server = startProcess(t, tempDrives(t, 6))
	t.Run("aws-sync", c.awsSync)
	t.Run("aws-multipart", c.awsMultipart)
	t.Run("rclone", c.rclone)
	t.Run("s3cmd", c.s3cmd)
	t.Run("boto3", c.boto3)
	t.Run("aws-sdk-go-v2", c.sdkGo)
	t.Run("minio-go", c.minioGo)
	c.server.stop()
}

// goSource is the source of Go's own tree: about 10,000 files, small ones mostly.
func goSource(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "src")
}

// need skips the test when a program is not there.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed", program)
	}
}

// tool runs a client with the settings in env and fails the test when it fails.
func tool(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	began := time.Now()
	cmd := exec.CommandContext(t.Context(), name, args...)
	// The user's own configuration has no part in the test.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8"}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(string(out), 40))
	}
	t.Logf("%s %s: %s", name, strings.Join(args[:min(2, len(args))], " "), time.Since(began).Round(10*time.Millisecond))
}

// sameTree compares two directories, file by file.
func sameTree(t *testing.T, a, b string) {
	t.Helper()
	if out, err := exec.Command("diff", "-r", a, b).CombinedOutput(); err != nil {
		t.Errorf("diff -r: %v\n%s", err, tail(string(out), 40))
	}
}

func (c *clientTest) awsEnv() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + testAccessKey, "AWS_SECRET_ACCESS_KEY=" + testSecretKey, "AWS_DEFAULT_REGION=us-east-1",
		"AWS_ENDPOINT_URL=" + c.server.endpoint, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		// A version manager in front of aws finds its own files by this.
		"PYENV_VERSION=" + os.Getenv("PYENV_VERSION"), "PYENV_ROOT=" + os.Getenv("PYENV_ROOT"),
	}
}

// aws runs aws s3; the endpoint is also an argument because older versions know only that.
func (c *clientTest) aws(t *testing.T, args ...string) {
	t.Helper()
	tool(t, c.awsEnv(), "aws", append(append([]string{"s3"}, args...), "--endpoint-url", c.server.endpoint)...)
}

func (c *clientTest) awsSync(t *testing.T) {
	need(t, "aws")
	down := t.TempDir()
	c.aws(t, "mb", "s3://aws-sync")
	c.aws(t, "sync", "--only-show-errors", c.source, "s3://aws-sync/tree")
	c.aws(t, "sync", "--only-show-errors", "s3://aws-sync/tree", down)
	sameTree(t, c.source, down)
	c.aws(t, "rb", "--force", "s3://aws-sync")
}

func (c *clientTest) awsMultipart(t *testing.T) {
	need(t, "aws")
	sizeBytes := int64(64 << 20)
	if isFull() {
		sizeBytes = 3 << 30
	}
	dir := t.TempDir()
	up, down := filepath.Join(dir, "up"), filepath.Join(dir, "down")
	want := randomFile(t, up, sizeBytes)
	c.aws(t, "mb", "s3://aws-large")
	c.aws(t, "cp", "--only-show-errors", up, "s3://aws-large/file")
	c.aws(t, "cp", "--only-show-errors", "s3://aws-large/file", down)
	if got := fileSum(t, down); got != want {
		t.Errorf("SHA-256: got %s back, want %s", got, want)
	}
}

// randomFile writes a file of random bytes and returns its SHA-256.
func randomFile(t *testing.T, path string, sizeBytes int64) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, sum), rand.NewChaCha8([32]byte{1}), sizeBytes); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func fileSum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func (c *clientTest) rclone(t *testing.T) {
	need(t, "rclone")
	env := []string{
		"RCLONE_CONFIG=" + filepath.Join(t.TempDir(), "rclone.conf"), "RCLONE_CONFIG_K_TYPE=s3", "RCLONE_CONFIG_K_PROVIDER=Other",
		"RCLONE_CONFIG_K_ENDPOINT=" + c.server.endpoint, "RCLONE_CONFIG_K_REGION=us-east-1",
		"RCLONE_CONFIG_K_ACCESS_KEY_ID=" + testAccessKey, "RCLONE_CONFIG_K_SECRET_ACCESS_KEY=" + testSecretKey,
	}
	down := t.TempDir()
	tool(t, env, "rclone", "mkdir", "k:rclone-sync")
	tool(t, env, "rclone", "sync", "--copy-links", c.source, "k:rclone-sync/tree")
	tool(t, env, "rclone", "check", "--copy-links", "--download", c.source, "k:rclone-sync/tree")
	tool(t, env, "rclone", "sync", "k:rclone-sync/tree", down)
	sameTree(t, c.source, down)
	tool(t, env, "rclone", "purge", "k:rclone-sync")
}

func (c *clientTest) s3cmd(t *testing.T) {
	need(t, "s3cmd")
	host := strings.TrimPrefix(c.server.endpoint, "http://")
	config := filepath.Join(t.TempDir(), "s3cfg")
	text := fmt.Sprintf("[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\n",
		testAccessKey, testSecretKey, host, host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) { tool(t, nil, "s3cmd", append(args, "--config", config, "--no-progress")...) }
	down := t.TempDir() + "/"
	run("mb", "s3://s3cmd-sync")
	run("sync", "--follow-symlinks", c.source+"/", "s3://s3cmd-sync/tree/")
	run("sync", "s3://s3cmd-sync/tree/", down)
	sameTree(t, c.source, down)
	run("rb", "--recursive", "--force", "s3://s3cmd-sync")
}

func (c *clientTest) boto3(t *testing.T) {
	need(t, "python3")
	if err := exec.Command("python3", "-c", "import boto3").Run(); err != nil {
		t.Skip("boto3 is not installed")
	}
	tool(t, c.awsEnv(), "python3", filepath.Join("testdata", "boto3_defaults.py"), c.server.endpoint)
}
