package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

// intruder is a process beside the cluster that must not become part of it.
type intruder struct {
	*Node
	// mayShow says that the cluster may know the process as a node without drives: only its drives are not what they say.
	mayShow bool
}

// Errors of intruders: the cluster has failed, or the fault has not shown anything.
var (
	errTakenIn = errors.New("cluster: it was taken in")
	errSilent  = errors.New("cluster: it was not taken in, but was not told why")
)

// intruderInterval is the pause between two looks at whether an intruder was taken in.
const intruderInterval = time.Second

// clone copies the drives of nodes while they run, and starts two processes over the copies of each: one with a name of its own, as if the disk
// had been put into another host too, and one with the name of the node, as if the whole host had been copied.
func clone(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	var all []intruder
	for _, n := range nodes {
		for _, as := range []string{n.Name + "-clone", n.Name} {
			var dirs []string
			for i, dir := range n.Dirs {
				double := filepath.Join(k.intruders(), fmt.Sprint(as, "-of-", n.Name), fmt.Sprint("d", i+1))
				if err := copyAlive(double, dir); err != nil {
					return nil, err
				}
				dirs = append(dirs, double)
			}
			double, err := k.another(as, dirs)
			if err != nil {
				return nil, err
			}
			double.Log = filepath.Join(k.intruders(), as+".log")
			all = append(all, intruder{Node: double, mayShow: as != n.Name})
		}
	}
	return k.intrude(all)
}

// copyAlive copies a directory in which files come and go.
func copyAlive(to, from string) (err error) {
	const tries = 10
	for range tries {
		if err = errors.Join(os.RemoveAll(to), os.MkdirAll(filepath.Dir(to), 0o700), os.CopyFS(to, os.DirFS(from))); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// stranger starts two processes that are not of the cluster: one has another secret, the other brings the drive of another cluster.
func stranger(ctx context.Context, k *Cluster, _ []*Node, _ How) (Undo, error) {
	home := k.intruders()
	a, err := k.another("stranger", []string{filepath.Join(home, "stranger")})
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(home, "other.secret")
	if err := os.WriteFile(secret, []byte(rand.Text()+rand.Text()), 0o600); err != nil {
		return nil, err
	}
	if a.Command, err = withFlag(a.Command, "--cluster-secret-file", secret); err != nil {
		return nil, err
	}
	foreign := filepath.Join(home, "foreign")
	if err := k.foundAnother(ctx, foreign); err != nil {
		return nil, err
	}
	b, err := k.another("foreign", []string{foreign})
	if err != nil {
		return nil, err
	}
	a.Log, b.Log = filepath.Join(home, "stranger.log"), filepath.Join(home, "foreign.log")
	return k.intrude([]intruder{{Node: a}, {Node: b}})
}

// foundAnother makes a cluster of one drive, and ends it.
func (k *Cluster) foundAnother(ctx context.Context, dir string) error {
	addrs, err := freePorts(2)
	if err != nil {
		return err
	}
	n := &Node{Name: "another cluster", Log: dir + "-birth.log", Admin: "http://" + addrs[1],
		Command: []string{k.config.Program, "server", "--s3-addr", addrs[0], "--admin-addr", addrs[1], dir}}
	if err := errors.Join(os.MkdirAll(dir, 0o700), k.Start(n)); err != nil {
		return err
	}
	defer n.end()
	return poll(ctx, joinTime, func() error {
		if !n.Alive() {
			return fmt.Errorf("cluster: %s: %s", n.Name, n.LastLines(0, n.LogSize(), 5))
		}
		if !n.isReady(ctx) {
			return errNotYet
		}
		return nil
	})
}

// isReady asks the process itself.
func (n *Node) isReady(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, metricsTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Admin+"/health/ready", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// intrude starts the intruders and looks all the time whether the cluster takes one in. Undone, they are ended; that fails if one was taken in.
func (k *Cluster) intrude(all []intruder) (Undo, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var looking sync.WaitGroup
	stop := func() {
		cancel()
		looking.Wait()
		for _, x := range all {
			x.end()
		}
	}
	for _, x := range all {
		if err := k.Start(x.Node); err != nil {
			stop()
			return nil, err
		}
	}
	var found error // until looking has ended it belongs to that goroutine
	looking.Go(func() {
		tick := time.NewTicker(intruderInterval)
		defer tick.Stop()
		for ctx.Err() == nil && found == nil {
			found = k.takenIn(ctx, all)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return func(context.Context) error {
		var silent error
		for _, x := range all {
			if x.Alive() && !x.complains() {
				silent = errors.Join(silent, fmt.Errorf("%w: the log of %s ends with %q", errSilent, x.Name, x.LastLines(0, x.LogSize(), 3)))
			}
		}
		stop()
		return errors.Join(found, silent, os.RemoveAll(k.intruders()))
	}, nil
}

// takenIn asks the cluster whether it holds one of the intruders for its own.
func (k *Cluster) takenIn(ctx context.Context, all []intruder) error {
	var s Status
	if err := k.ask(ctx, &s, "admin", "status", "--json", "--no-chunks", "--dir", k.dir()); err != nil {
		return nil // it does not answer now: it is asked again
	}
	for _, x := range all {
		if why := s.has(x); why != "" {
			return fmt.Errorf("%w: %s", errTakenIn, why)
		}
	}
	return nil
}

// has tells how an intruder shows in the status of the cluster; "" if it does not. A node of its name at another address is the true one.
func (s *Status) has(x intruder) string {
	i := slices.IndexFunc(s.Nodes, func(n NodeStatus) bool { return n.Addr == x.Addr })
	if i < 0 {
		return ""
	}
	if !x.mayShow && s.Nodes[i].Up {
		return fmt.Sprintf("%s at %s is a node", x.Name, x.Addr)
	}
	for _, d := range s.Drives {
		if d.Node == x.Name {
			return fmt.Sprintf("%s at %s has a drive, which is %s", x.Name, x.Addr, d.State)
		}
	}
	return ""
}

// complaint is how a process says that something is not as it should be.
var complaint = regexp.MustCompile(`level=(WARN|ERROR)`)

// complains tells whether a process that runs on says that it is not taken in.
func (n *Node) complains() bool {
	data, err := n.ReadLog(0, maxLogBytes)
	return err == nil && complaint.Match(data)
}

// intruders is where those keep their files.
func (k *Cluster) intruders() string { return filepath.Join(k.config.Dir, "intruders") }
