package main

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kintsugi/meta/membership"
	"kintsugi/placement"
)

// runToEnd starts the program and waits for it to end by itself.
func runToEnd(t *testing.T, args ...string) (stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), runAsKintsugi+"=1")
	var errOut strings.Builder
	cmd.Stderr = &errOut
	err = cmd.Run()
	return errOut.String(), err
}

// snapshotTree lists the files below the directories with size and time of change.
func snapshotTree(t *testing.T, dirs []string) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				if os.IsNotExist(err) {
					return nil
				}
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			fmt.Fprintln(&all, path, info.Size(), info.Mode(), info.ModTime())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// What must not be opened is refused with one clear line, and nothing is touched.
func TestServerRefuses(t *testing.T) {
	made := func(t *testing.T, n int) []string {
		p := startProcess(t, tempDrives(t, n))
		p.stop()
		return p.dirs
	}
	cases := []struct {
		name    string
		prepare func(t *testing.T) (args, dirs []string)
		want    string
	}{
		{"a drive of another cluster", func(t *testing.T) (args, dirs []string) {
			return nil, append(made(t, 2), made(t, 1)...)
		}, "another cluster"},
		{"a drive of a node of a cluster", func(t *testing.T) (args, dirs []string) {
			dirs = made(t, 1)
			record := clusterRecord{Founding: &membership.Founding{Cluster: placement.ClusterID{1}}}
			if err := record.write(dirs[0]); err != nil {
				t.Fatal(err)
			}
			return nil, dirs
		}, "--join"},
		{"a copied drive", func(t *testing.T) (args, dirs []string) {
			dirs = made(t, 2)
			twin := filepath.Join(t.TempDir(), "twin")
			if err := os.CopyFS(twin, os.DirFS(dirs[0])); err != nil {
				t.Fatal(err)
			}
			return nil, append(dirs, twin)
		}, "same identity"},
		{"a format from the future", func(t *testing.T) (args, dirs []string) {
			dirs = made(t, 1)
			for _, name := range []string{"kintsugi.id", "kintsugi.id.copy"} {
				path := filepath.Join(dirs[0], name)
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				data = []byte(strings.Replace(string(data), "kintsugi-drive 1 ", "kintsugi-drive 9 ", 1))
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			return nil, dirs
		}, "newer version"},
		{"somebody's directory", func(t *testing.T) (args, dirs []string) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			return nil, []string{dir}
		}, "not a Kintsugi drive"},
		{"a port in use", func(t *testing.T) (args, dirs []string) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return []string{"--s3-addr", l.Addr().String()}, tempDrives(t, 1)
		}, "address already in use"},
		{"more shards than drives", func(t *testing.T) (args, dirs []string) {
			return []string{"--ec", "4+2"}, tempDrives(t, 3)
		}, "needs 6 drives"},
		{"a full disk", func(t *testing.T) (args, dirs []string) {
			return nil, []string{filepath.Join(mountTmpfs(t, "size=1m"), "d")}
		}, "are free"},
		{"a read-only disk", func(t *testing.T) (args, dirs []string) {
			return nil, []string{mountTmpfs(t, "size=1m,ro")}
		}, "read-only"},
		{"a drive in use", func(t *testing.T) (args, dirs []string) {
			return nil, startProcess(t, tempDrives(t, 1)).dirs
		}, "another process"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			args, dirs := c.prepare(t)
			before := snapshotTree(t, dirs)
			flags := []string{"server", "--s3-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--rpc-addr", "127.0.0.1:0", "--log-level", "error"}
			stderr, err := runToEnd(t, append(append(flags, args...), dirs...)...)
			if err == nil {
				t.Fatal("exit code 0")
			}
			if lines := strings.Split(strings.TrimSpace(stderr), "\n"); len(lines) != 1 || !strings.Contains(lines[0], c.want) {
				t.Errorf("stderr = %q, want one line with %q", stderr, c.want)
			}
			if c.name == "a drive in use" {
				return // its owner works on
			}
			if after := snapshotTree(t, dirs); after != before {
				t.Errorf("something was touched:\nbefore\n%safter\n%s", before, after)
			}
		})
	}
}

// mountTmpfs mounts a small filesystem for the test, or skips it.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, strings.TrimSuffix(options, ",ro")); err != nil {
		t.Skip("cannot mount a tmpfs here:", err)
	}
	if strings.HasSuffix(options, ",ro") {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestCredentialsFromEnvironment(t *testing.T) {
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		env  map[string]string
		ok   bool
		err  string
		want credentials
	}{
		{"nothing set", nil, false, "", credentials{}},
		{"both set", map[string]string{"KINTSUGI_ROOT_ACCESS_KEY": "abc", "KINTSUGI_ROOT_SECRET_KEY": "12345678"}, true, "", credentials{accessKey: "abc", secretKey: "12345678"}},
		{"secret in a file", map[string]string{"KINTSUGI_ROOT_ACCESS_KEY": "abc", "KINTSUGI_ROOT_SECRET_KEY_FILE": secretFile}, true, "", credentials{accessKey: "abc", secretKey: "from-a-file"}},
		{"file and value", map[string]string{"KINTSUGI_ROOT_SECRET_KEY": "12345678", "KINTSUGI_ROOT_SECRET_KEY_FILE": secretFile}, false, "keep one", credentials{}},
		{"no such file", map[string]string{"KINTSUGI_ROOT_SECRET_KEY_FILE": "/does/not/exist"}, false, "KINTSUGI_ROOT_SECRET_KEY_FILE", credentials{}},
		{"access key alone", map[string]string{"KINTSUGI_ROOT_ACCESS_KEY": "abc"}, false, "KINTSUGI_ROOT_SECRET_KEY", credentials{}},
		{"short secret", map[string]string{"KINTSUGI_ROOT_ACCESS_KEY": "abc", "KINTSUGI_ROOT_SECRET_KEY": "123"}, false, "8 to 256", credentials{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, ok, err := credentialsFromEnv(func(name string) string { return c.env[name] })
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error = %v, want one with %q", err, c.err)
				}
				return
			}
			got.source = ""
			if err != nil || ok != c.ok || got != c.want {
				t.Errorf("got %+v, %v, %v; want %+v, %v", got, ok, err, c.want, c.ok)
			}
		})
	}
}

func TestCredentialsAreKeptWithTheDrives(t *testing.T) {
	dir := t.TempDir()
	made := newCredentials()
	if err := made.validate(); err != nil {
		t.Fatal(err)
	}
	if err := made.save(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, credentialsName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	got, err := loadCredentials([]string{t.TempDir(), dir})
	if err != nil || got.accessKey != made.accessKey || got.secretKey != made.secretKey {
		t.Errorf("loaded %q, %v; want %q", got.accessKey, err, made.accessKey)
	}
}
