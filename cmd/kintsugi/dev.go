package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kintsugi/erasure"
)

// devConfig is what the flags of dev say.
type devConfig struct {
	dir      string // absolute
	shape    devShape
	code     string // such as 4+2; empty: by the number of drives
	basePort int    // 0: any free ports
	outAfter time.Duration
	keep     time.Duration // how long deleted bodies stay

	program   string        // the binary that has the roles
	env       []string      // added to the environment of the processes
	readyWait time.Duration // until all of them must be ready
	grace     time.Duration // until one that was told to stop is killed
}

// errDevFailed makes the exit code tell; what failed has been printed.
var errDevFailed = errors.New("the cluster did not start")

func newDevCommand() *cobra.Command {
	cfg := devConfig{readyWait: time.Minute, grace: 10 * time.Second}
	cmd := &cobra.Command{
		Use:   "dev --dir DIR",
		Short: "Run a cluster of separate processes on this machine, for trying things out",
		Long: `Start gateways, storage nodes and metadata nodes as processes of their own on loopback.
It runs in the foreground and stops what it started. Once all are ready, DIR/cluster.json says what runs where:

  {"s3": [URL...], "processes": [{"role", "node", "pid", "addr", "admin", "dirs", "log", "command"}]}

Everything is kept in DIR: the cluster secret, a directory per drive, a log per process. Started again with the
same DIR it goes on with what is there, on the same ports; larger numbers than before add processes, also to a
cluster that runs.

A process that dies is reported and stays dead, so that you can watch the others do without it.
SIGHUP starts all dead ones again.

Credentials are KINTSUGI_ROOT_ACCESS_KEY and KINTSUGI_ROOT_SECRET_KEY, or the same names with _FILE; without
them they follow from the cluster secret: kintsugi admin credentials --dir DIR.`,
		Example: `  kintsugi dev --dir ./cluster
  kintsugi dev --nodes 9 --metas 3 --gateways 2 --ec 4+2 --dir ./cluster --base-port 9000
  kill -9 $(jq '.processes[] | select(.node == "n3").pid' ./cluster/cluster.json)
  kintsugi admin status --watch --dir ./cluster
  kintsugi dev --servers 9 --dir ./cluster    # nine processes that have all roles each`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.dir, "dir", "", "where everything is kept; made if it does not exist")
	counts := map[string]*int{"nodes": &cfg.shape.storage, "metas": &cfg.shape.metas, "gateways": &cfg.shape.gateways, "servers": &cfg.shape.servers}
	flags.IntVar(&cfg.shape.storage, "nodes", newShape.storage, "storage nodes")
	flags.IntVar(&cfg.shape.metas, "metas", newShape.metas, "metadata nodes")
	flags.IntVar(&cfg.shape.gateways, "gateways", newShape.gateways, "gateways")
	flags.IntVar(&cfg.shape.servers, "servers", 0, "processes that have all roles; then there are no others unless they are asked for")
	flags.IntVar(&cfg.shape.drives, "drives-per-node", 1, "drives of each new storage node")
	flags.StringVar(&cfg.code, "ec", "", "data+parity shards of a chunk, such as 4+2; default: by the number of drives")
	flags.IntVar(&cfg.basePort, "base-port", 0, "first of consecutive ports: S3 of the gateways, then the others; default: free ones")
	flags.DurationVar(&cfg.outAfter, "out-after", 5*time.Second, "give a lost drive up after this time and rebuild its shards on the others")
	flags.DurationVar(&cfg.keep, "keep-deleted", keepDefault, "how long deleted bodies stay on the drives")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for name, n := range counts {
			if !flags.Changed(name) {
				*n = asItIs
			} else if *n < 0 || *n > maxDrives {
				return fmt.Errorf("--%s: 0 to %d", name, maxDrives)
			}
		}
		if err := cfg.settle(); err != nil {
			return err
		}
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		return runDev(cmd.Context(), cfg, hup, cmd.OutOrStdout())
	}
	return cmd
}

// settle checks the flags and makes the paths absolute.
func (c *devConfig) settle() (err error) {
	if c.dir == "" {
		return errors.New("--dir: name the directory that keeps the cluster, such as --dir ./cluster")
	}
	if c.code != "" {
		if _, err := erasure.ParseParams(c.code); err != nil {
			return fmt.Errorf("--ec: %w", err)
		}
	}
	if c.shape.drives < 1 || c.shape.drives > maxDrives {
		return fmt.Errorf("--drives-per-node: 1 to %d", maxDrives)
	}
	if c.dir, err = filepath.Abs(c.dir); err != nil {
		return err
	}
	c.program, err = os.Executable()
	return err
}

// runDev runs the cluster until ctx ends. Processes that died are started again for
// every value of hup. All processes are started by the calling thread, which stays: they end with it.
func runDev(ctx context.Context, cfg devConfig, hup <-chan os.Signal, out io.Writer) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dir, err := openDevDir(cfg.dir)
	if dir != nil {
		defer dir.close()
	}
	if err != nil && !errors.Is(err, errDevRuns) {
		return err
	}
	layout, failed := dir.layout(cfg)
	if failed != nil {
		return failed
	}
	if err != nil {
		return tellRunner(dir, layout, out)
	}
	d := newDev(cfg, dir, layout, out)
	defer d.stop()
	if err := d.start(); err != nil {
		return err
	}
	if err := d.waitReady(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while it started
		}
		return err
	}
	if err := d.announce(); err != nil {
		return err
	}
	d.banner()
	return d.watch(ctx, hup)
}

// tellRunner has the dev that runs the cluster start what was added to the layout.
func tellRunner(dir *devDir, l devLayout, out io.Writer) error {
	pid, err := dir.runner()
	if err != nil {
		return fmt.Errorf("%w, and does not say which process it is: %w", errDevRuns, err)
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		return fmt.Errorf("%w, as process %d: %w", errDevRuns, pid, err)
	}
	fmt.Fprintf(out, "the dev that runs this cluster (process %d) starts those of its %d processes that do not run\n", pid, len(l.Nodes))
	return nil
}
