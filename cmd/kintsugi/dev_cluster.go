package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// dev is a running cluster. Only the goroutine of runDev touches it; ended is how the processes' own goroutines reach it.
type dev struct {
	cfg      devConfig
	dir      *devDir
	out      io.Writer
	children []*devChild
	ended    chan *devChild
	stopping chan struct{}
}

// devFile is DIR/cluster.json.
type devFile struct {
	S3        []string     `json:"s3"`
	Processes []devProcess `json:"processes"`
}

// devProcess is a process in cluster.json.
type devProcess struct {
	Role    string   `json:"role"`
	Node    string   `json:"node"`
	PID     int      `json:"pid"`
	Addr    string   `json:"addr"` // host:port of its rpc
	Admin   string   `json:"admin"`
	S3      string   `json:"s3,omitempty"`
	Dirs    []string `json:"dirs"`
	Log     string   `json:"log"`
	Command []string `json:"command"`
}

// Lines of a log that are shown when its process failed, and how often to look who is ready.
const (
	epitaphLines  = 8
	readyInterval = 100 * time.Millisecond
	tellInterval  = 5 * time.Second
)

func newDev(cfg devConfig, dir *devDir, l devLayout, out io.Writer) *dev {
	d := &dev{cfg: cfg, dir: dir, out: out, ended: make(chan *devChild), stopping: make(chan struct{})}
	d.add(l)
	return d
}

// add takes the processes of the layout that it has not yet.
func (d *dev) add(l devLayout) {
	for _, n := range l.Nodes[len(d.children):] {
		d.children = append(d.children, &devChild{
			node: n, command: l.command(d.cfg, n), log: filepath.Join(d.cfg.dir, n.Name+".log"),
		})
	}
}

// start starts all processes that do not run.
func (d *dev) start() error {
	for _, c := range d.children {
		if c.isRunning() {
			continue
		}
		if err := c.start(d.cfg.env, d.report); err != nil {
			return err
		}
	}
	return nil
}

// report runs in the goroutine of a process that ended.
func (d *dev) report(c *devChild) {
	select {
	case d.ended <- c:
	case <-d.stopping:
	}
}

// waitReady waits until all processes say that they are ready. It fails when one dies, and when they take too long.
func (d *dev) waitReady(ctx context.Context) error {
	fmt.Fprintf(d.out, "starting %d processes in %s\n", len(d.children), d.cfg.dir)
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	began := time.Now()
	look, tell := time.NewTicker(readyInterval), time.NewTicker(tellInterval)
	defer look.Stop()
	defer tell.Stop()
	waiting := d.children
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-d.ended:
			d.tellDeath(c)
			return fmt.Errorf("%w: %s %s", errDevFailed, c.node.Name, c.epitaph())
		case <-tell.C:
			fmt.Fprintf(d.out, "waiting for %s (%s)\n", names(waiting), time.Since(began).Round(time.Second))
		case <-look.C:
			if waiting = unready(client, waiting); len(waiting) == 0 {
				return nil
			}
			if time.Since(began) > d.cfg.readyWait {
				for _, c := range waiting {
					fmt.Fprintf(d.out, "%s is not ready; the end of %s:\n%s", c.node.Name, c.log, c.lastLines(epitaphLines))
				}
				return fmt.Errorf("%w: not ready after %s: %s", errDevFailed, d.cfg.readyWait, names(waiting))
			}
		}
	}
}

// unready asks all of them at once.
func unready(client *http.Client, children []*devChild) (not []*devChild) {
	ready := make([]bool, len(children))
	var asking sync.WaitGroup
	for i, c := range children {
		asking.Go(func() { ready[i] = c.isReady(client) })
	}
	asking.Wait()
	for i, c := range children {
		if !ready[i] {
			not = append(not, c)
		}
	}
	return not
}

func names(children []*devChild) string {
	all := make([]string, len(children))
	for i, c := range children {
		all[i] = c.node.Name
	}
	return strings.Join(all, ", ")
}

// overtaken is how long after the order to start the dead again a death still counts as one of them: whoever kills and
// orders at once must not have to wait for the kernel in between.
const overtaken = 500 * time.Millisecond

// watch reports deaths and starts dead processes again when it is told to.
func (d *dev) watch(ctx context.Context, hup <-chan os.Signal) error {
	var ordered time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-d.ended:
			d.tellDeath(c)
			if time.Since(ordered) > overtaken {
				continue
			}
		case <-hup:
			ordered = time.Now()
		}
		if err := d.restart(); err != nil {
			fmt.Fprintln(d.out, "not all could be started again:", err)
		}
	}
}

// restart starts the dead processes, and those that a second dev added. Directories that were removed are made again.
func (d *dev) restart() error {
	l, err := d.dir.remembered()
	if err != nil {
		return err
	}
	d.add(l)
	if err := d.dir.prepare(l); err != nil {
		return err
	}
	for _, c := range d.children {
		if !c.isRunning() {
			d.tellDeath(c)
			fmt.Fprintf(d.out, "%s is started\n", c.node.Name)
		}
	}
	return errors.Join(d.start(), d.announce())
}

// tellDeath reports a process that ended; once.
func (d *dev) tellDeath(c *devChild) {
	if c.told || c.pid == 0 || c.isRunning() {
		return
	}
	c.told = true
	fmt.Fprintf(d.out, "%s (%s) %s after %s\n", c.node.Name, c.node.Role, c.epitaph(), time.Since(c.began).Round(time.Second))
	if c.exit != nil {
		fmt.Fprintf(d.out, "  the end of %s:\n%s", c.log, c.lastLines(epitaphLines))
	}
}

// file says what runs where.
func (d *dev) file() devFile {
	f := devFile{S3: []string{}}
	for _, c := range d.children {
		p := devProcess{
			Role: c.node.Role, Node: c.node.Name, PID: c.pid, Addr: loopback(c.node.RPC),
			Admin: "http://" + loopback(c.node.Admin), Dirs: c.node.dirs(d.cfg.dir), Log: c.log, Command: c.command,
		}
		if c.node.servesS3() {
			p.S3 = "http://" + loopback(c.node.S3)
			f.S3 = append(f.S3, p.S3)
		}
		f.Processes = append(f.Processes, p)
	}
	return f
}

func (d *dev) announce() error {
	return writeJSONFile(filepath.Join(d.cfg.dir, devClusterName), d.file())
}

func (d *dev) banner() {
	f := d.file()
	fmt.Fprintf(d.out, "\nA cluster of %d processes is ready:\n\n", len(f.Processes))
	for _, url := range f.S3 {
		fmt.Fprintf(d.out, "  endpoint      %s\n", url)
	}
	fmt.Fprintf(d.out, `  credentials   %s
  processes     %s
  state         kintsugi admin status --watch --dir %s

Kill any of them and watch:   kill -9 PID
Start the dead ones again:    kill -HUP %d
Stop the cluster:             Ctrl-C

`, d.credentials(), filepath.Join(d.cfg.dir, devClusterName), d.cfg.dir, os.Getpid())
	fmt.Fprintf(d.out, "ready s3=%s dir=%s pid=%d\n", strings.Join(f.S3, ","), d.cfg.dir, os.Getpid())
}

func (d *dev) credentials() string {
	if _, ok, _ := credentialsFromEnv(os.Getenv); ok {
		return "from the environment"
	}
	return "kintsugi admin credentials --dir " + d.cfg.dir
}

// stop ends what was started: first who is called from outside, last who knows everything.
func (d *dev) stop() {
	close(d.stopping)
	name := filepath.Join(d.cfg.dir, devClusterName)
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(d.out, err)
	}
	for _, role := range []string{roleGateway, roleServer, roleStorage, roleMeta} {
		var ending sync.WaitGroup
		for _, c := range d.children {
			if c.node.Role == role {
				ending.Go(func() { c.end(d.cfg.grace) })
			}
		}
		ending.Wait()
	}
}
