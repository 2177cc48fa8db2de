package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/internal/simnet"
	"kintsugi/meta/membership"
)

// disturb does one thing to a process, or to its links with others.
func (c *simClients) disturb(name string, others []string) {
	p := c.processes[name]
	other := c.processes[others[c.rand.IntN(len(others))]]
	if c.running(name) == nil {
		c.note("start %s", name)
		c.net.Thaw(p.ip)
		c.start(name)
		return
	}
	switch c.rand.IntN(15) {
	case 0, 1:
		c.note("kill %s", name)
		c.crash(name, false)
	case 2:
		c.note("power off %s", name)
		c.crash(name, true)
	case 3, 4:
		c.note("freeze %s", name)
		c.net.Freeze(p.ip)
	case 5, 6:
		c.note("thaw %s", name)
		c.net.Thaw(p.ip)
	case 7:
		c.note("isolate %s", name)
		for _, o := range c.processes {
			c.net.Cut(p.ip, o.ip)
			c.net.Cut(o.ip, p.ip)
		}
	case 8:
		c.note("cut %s -> %s", name, other.name)
		c.net.Cut(p.ip, other.ip)
	case 9:
		c.note("mend %s", name)
		for _, o := range c.processes {
			c.net.Mend(p.ip, o.ip)
			c.net.Mend(o.ip, p.ip)
		}
	case 10:
		c.note("reset %s, %s", name, other.name)
		c.net.Reset(p.ip, other.ip)
	case 11:
		c.slow(p, other)
	case 12, 13:
		c.flip(p)
	case 14:
		c.wipe(p)
	}
}

// slow makes the way to a process slow and unreliable.
func (c *simCluster) slow(p, other *simProcess) {
	l := simnet.Link{
		Latency: time.Duration(1+c.rand.IntN(40)) * time.Millisecond, Jitter: 20 * time.Millisecond,
		Loss: c.rand.Float64() / 5, BytesPerSecond: 1 << (17 + c.rand.IntN(8)),
	}
	c.note("link %s -> %s: %+v", other.name, p.name, l)
	c.net.SetLink(other.ip, p.ip, l)
}

// calm makes all links fast again.
func (c *simCluster) calm() {
	c.net.SetLinks(simnet.Link{Latency: 100 * time.Microsecond, Jitter: 100 * time.Microsecond})
}

// wipe ends a process and takes away all that it had: it comes back with empty drives.
func (c *simClients) wipe(p *simProcess) {
	if !c.mayDamage(p) {
		return
	}
	c.note("wipe %s", p.name)
	c.crash(p.name, false)
	for _, dir := range p.dirsOf(c.dir) {
		if err := os.RemoveAll(dir); err != nil {
			c.t.Fatal(err)
		}
	}
}

// flip changes bits of what a drive keeps, behind the back of the process: of shards, or of the metadata's log and state. Without
// the small records that say whose it is a process refuses to start: they are left.
func (c *simClients) flip(p *simProcess) {
	if !c.mayDamage(p) {
		return
	}
	var files []string
	err := filepath.WalkDir(p.dirs[0], func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		info, ierr := d.Info()
		if ierr == nil && info.Mode().IsRegular() && info.Size() > 0 && !strings.HasPrefix(d.Name(), "kintsugi") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	for range min(5, len(files)) {
		c.flipIn(files[c.rand.IntN(len(files))])
	}
}

// flipIn changes one byte of what was written into a file. What is zero to its end was not.
func (c *simCluster) flipIn(path string) {
	content, err := os.ReadFile(path)
	used := len(bytes.TrimRight(content, "\x00"))
	if err != nil || used == 0 {
		return
	}
	at := c.rand.IntN(used)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	c.note("flip byte %d of %s", at, path[len(c.dir):])
	if _, err := f.WriteAt([]byte{content[at] ^ 1<<c.rand.IntN(8)}, int64(at)); err != nil {
		c.t.Fatal(err)
	}
}

// mayDamage tells whether what p keeps may be lost: what no drive has cannot be read again. So it is only where a trial watches
// that no more than m drives, and one replica of the metadata, lose anything.
func (c *simClients) mayDamage(p *simProcess) bool {
	return len(p.dirs) > 0 && slices.Contains(c.victims, p.name)
}

// scrub has everything read once, so that damage is found and mended.
func (c *simClients) scrub() {
	c.t.Helper()
	var serial uint64
	c.await("a coordinator", time.Minute, func() error {
		for _, name := range c.names(rpc.Meta) {
			n := c.running(name)
			orders, err := n.coordinator.SetOrders(func(o *membership.Orders) { o.ScrubSerial++ })
			if err == nil {
				serial = orders.ScrubSerial
				return nil
			}
		}
		return errors.New("none")
	})
	c.await("the scrub", time.Minute, func() error {
		for _, name := range c.names(rpc.Storage) {
			n := c.running(name)
			for id := range n.view.current.Load().stores {
				if n.repair.scrubbed(id) < serial {
					return fmt.Errorf("%s has not scrubbed", name)
				}
			}
		}
		return nil
	})
}
