package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kintsugi/cmd/kintsugi/admin"
	"kintsugi/internal/secret"
)

// runAdmin runs a command line and returns what it printed and its exit code.
func runAdmin(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var b bytes.Buffer
	cmd := newAdminCommand()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	if err != nil {
		b.WriteString(err.Error())
	}
	return b.String(), exitCode(err)
}

// devDirectory looks like that of `kintsugi dev`, with a cluster.json of these processes.
func devDirectory(t *testing.T, processes ...map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := secret.Create(filepath.Join(dir, "cluster.secret")); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{"s3": []string{}, "processes": processes})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAdminUsage(t *testing.T) {
	t.Setenv(secretFileEnv, "")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{}, 0, "Exit codes"},
		{[]string{"explode"}, exitUsage, "unknown command"},
		{[]string{"plan", "explode"}, exitUsage, "unknown command"},
		{[]string{"status", "--explode"}, exitUsage, "unknown flag"},
		{[]string{"status", "n3"}, exitUsage, "unknown command"},
		{[]string{"status"}, exitUsage, "--cluster-secret-file"},
		{[]string{"drain"}, exitUsage, "accepts 1 arg"},
		{[]string{"weight", "4f1c02d7", "heavy"}, exitUsage, "whole number"},
		{[]string{"why", "bucket"}, exitUsage, "BUCKET/KEY"},
		{[]string{"consistency", "bucket", "perhaps"}, exitUsage, "eventual"},
		{[]string{"rebuild", "--limit", "1"}, exitUsage, "64KiB"},
		{[]string{"status", "--dir", "/nowhere"}, exitError, "kintsugi dev --dir /nowhere"},
	} {
		out, code := runAdmin(t, c.args...)
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("admin %s: code %d, want %d with %q:\n%s", strings.Join(c.args, " "), code, c.code, c.want, out)
		}
	}
}

func TestAdminAddresses(t *testing.T) {
	dir := devDirectory(t, map[string]any{"role": "gateway", "addr": "127.0.0.1:3"}, map[string]any{"role": "meta", "addr": "127.0.0.1:1"},
		map[string]any{"role": "storagenode", "addr": "127.0.0.1:2"})
	for _, c := range []struct {
		name  string
		flags adminFlags
		want  []string
	}{
		{"none", adminFlags{}, []string{"127.0.0.1:9002"}},
		{"with and without port", adminFlags{addrs: []string{"10.0.0.1", "10.0.0.2:7", "::1"}}, []string{"10.0.0.1:9002", "10.0.0.2:7", "[::1]:9002"}},
		{"of dev", adminFlags{dir: dir}, []string{"127.0.0.1:1", "127.0.0.1:3", "127.0.0.1:2"}},
		{"address and dev", adminFlags{dir: dir, addrs: []string{"h:1"}}, []string{"h:1"}},
	} {
		got, err := c.flags.addresses()
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	empty := adminFlags{dir: devDirectory(t)}
	if _, err := empty.addresses(); err == nil {
		t.Error("a cluster.json without processes gave addresses")
	}
}

func TestAdminCredentials(t *testing.T) {
	t.Setenv("KINTSUGI_ROOT_ACCESS_KEY", "")
	t.Setenv("KINTSUGI_ROOT_SECRET_KEY", "")
	dir := devDirectory(t)
	out, code := runAdmin(t, "credentials", "--dir", dir, "--json")
	var got struct{ AccessKey, SecretKey, Source string }
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
		t.Fatalf("code %d: %s", code, out)
	}
	if err := (credentials{accessKey: got.AccessKey, secretKey: got.SecretKey}).validate(); err != nil {
		t.Error(err)
	}
	text, _ := runAdmin(t, "credentials", "--dir", dir)
	if !strings.Contains(text, "AWS_SECRET_ACCESS_KEY='"+got.SecretKey+"'") {
		t.Errorf("another secret: %s", text)
	}
	token, code := runAdmin(t, "token", "--dir", dir)
	if again, _ := runAdmin(t, "token", "--dir", dir); code != 0 || len(token) < 40 || again != token {
		t.Errorf("token %q, then %q", token, again)
	}
	t.Setenv("KINTSUGI_ROOT_ACCESS_KEY", "root")
	t.Setenv("KINTSUGI_ROOT_SECRET_KEY", "it's me, root")
	if text, _ := runAdmin(t, "credentials", "--dir", dir); !strings.Contains(text, `'it'\''s me, root'`) {
		t.Errorf("from the environment: %s", text)
	}
}

// TestDerivedKeys pins what clusters depend on: other keys would lock everybody out.
func TestDerivedKeys(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := secret.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	c := credentialsFromSecret(s)
	if got, want := c.accessKey+" "+c.secretKey+" "+adminToken(s), "TSMEJPQMCZ42PG7KVUNF ugj2jlmovpybgccdhoql3aku67xp6uc4lbtz2vqg AXk49AU4HQItCYdC2yTrU_HTYuX2uLL31Uyy1aroHz8"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("x"), exitError}, {usageError(errors.New("x")), exitUsage},
		{healthError(admin.Healthy, "x"), 0}, {healthError(admin.Degraded, "x"), exitDegraded},
		{healthError(admin.AtRisk, "x"), exitAtRisk}, {healthError(admin.Unavailable, "x"), exitAtRisk},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: code %d, want %d", c.err, got, c.want)
		}
	}
}

func TestRates(t *testing.T) {
	for text, want := range map[string]int64{"200MB/s": 200e6, "64KiB/s": 64 << 10, "1GiB": 1 << 30, "default": 0} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "fast", "0", "-1MB/s"} {
		if _, err := parseRate(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestAuditUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
	}{
		{nil, exitUsage}, {[]string{"--explode", "x"}, exitUsage}, {[]string{"/d{1..."}, exitUsage}, {[]string{filepath.Join(t.TempDir(), "nowhere")}, exitError},
	} {
		cmd := newAuditCommand()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(append([]string{}, c.args...))
		if got := exitCode(cmd.ExecuteContext(t.Context())); got != c.code {
			t.Errorf("audit %v: code %d, want %d", c.args, got, c.code)
		}
	}
}
