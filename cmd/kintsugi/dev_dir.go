package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"kintsugi/internal/secret"
)

// Files in the directory of a dev cluster.
const (
	devLayoutName  = "dev.json"
	devSecretName  = "cluster.secret"
	devClusterName = "cluster.json" // there while the cluster runs
)

// devDir is the directory of a cluster that no other dev has.
type devDir struct {
	path string
	lock *os.File
}

// openDevDir makes or takes path. It refuses a directory that something else lives in.
func openDevDir(path string) (*devDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	_, err = os.Stat(filepath.Join(path, devLayoutName))
	if errors.Is(err, fs.ErrNotExist) && len(entries) > 0 && entries[0].Name() != devLockName {
		return nil, fmt.Errorf("%s is not empty and not of a dev cluster: name another --dir", path)
	}
	lock, err := os.OpenFile(filepath.Join(path, devLockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	d := &devDir{path, lock}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return d, errDevRuns
	}
	_, err = lock.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0)
	return d, err
}

// errDevRuns says that the cluster in the directory has its dev.
var errDevRuns = errors.New("another dev runs the cluster in this directory")

// runner is the process id of the dev that has the directory.
func (d *devDir) runner() (pid int, err error) {
	text := make([]byte, 10)
	if _, err := d.lock.ReadAt(text, 0); err != nil {
		return 0, err
	}
	_, err = fmt.Sscan(string(text), &pid)
	return pid, err
}

// devLockName is locked by the dev that runs.
const devLockName = ".dev.lock"

func (d *devDir) close() { d.lock.Close() }

// layout reads what is remembered, lets it grow to what cfg asks for, and remembers that. It makes the secret
// and the drives' directories.
func (d *devDir) layout(cfg devConfig) (devLayout, error) {
	l, err := d.remembered()
	if err != nil {
		return l, err
	}
	if cfg.code != "" && len(l.Nodes) > 0 && l.Code != cfg.code {
		return l, fmt.Errorf("--ec %s: this cluster was born with %s", cfg.code, orDefault(l.Code))
	}
	if len(l.Nodes) == 0 {
		l.Code = cfg.code
	}
	if l, err = l.grow(cfg.shape, portsFrom(cfg.basePort, l.ports())); err != nil {
		return l, err
	}
	if err := writeJSONFile(filepath.Join(d.path, devLayoutName), l); err != nil {
		return l, err
	}
	return l, d.prepare(l)
}

// remembered reads the layout; none is an empty one.
func (d *devDir) remembered() (l devLayout, err error) {
	name := filepath.Join(d.path, devLayoutName)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	if err == nil && l.Format != devFormat {
		err = fmt.Errorf("format %d is not known", l.Format)
	}
	if err != nil {
		return l, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

func orDefault(code string) string {
	if code == "" {
		return "the default"
	}
	return code
}

// prepare makes the secret and the directories of new drives. One that was removed is made again: empty.
func (d *devDir) prepare(l devLayout) error {
	name := filepath.Join(d.path, devSecretName)
	_, err := secret.Load(name)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = secret.Create(name)
	}
	if err != nil {
		return err
	}
	for _, n := range l.Nodes {
		for _, dir := range n.dirs(d.path) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
		}
	}
	return nil
}

// Free ports are looked for below the range from which the kernel takes those of outgoing connections: a process
// that comes back must not find its port taken by somebody's call.
const firstPort, lastPort = 10_000, 30_000

// portsFrom returns ports that nobody uses: consecutive ones from base, or any.
func portsFrom(base int, used map[int]bool) func() (int, error) {
	port, wanted := base, base > 0
	if !wanted {
		port = firstPort + rand.IntN(lastPort-firstPort-1000)
	}
	return func() (int, error) {
		for ; port < 1<<16; port++ {
			if used[port] {
				continue
			}
			l, err := net.Listen("tcp", loopback(port))
			if err == nil {
				l.Close()
				port++
				return port - 1, nil
			}
			if wanted {
				return 0, fmt.Errorf("--base-port %d: %w", base, err)
			}
		}
		return 0, errors.New("no free port")
	}
}

// writeJSONFile puts record in the place of the file at once: a reader sees the old or the new one.
func writeJSONFile(name string, record any) error {
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	next := name + ".next"
	if err := os.WriteFile(next, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, name)
}
