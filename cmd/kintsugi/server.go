package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"kintsugi/erasure"
	"kintsugi/internal/rpc"
	"kintsugi/meta/replica"
)

// serverConfig is what the flags and the environment of server say.
type serverConfig struct {
	dirs      []string // drives, absolute
	s3Addr    string
	adminAddr string
	rpcAddr   string
	code      erasure.Params // zero: by the number of drives
	region    string
	domains   []string      // for virtual-host style requests
	replicas  int           // of the metadata; 0: by the code
	outAfter  time.Duration // when a lost drive is given up
	keep      time.Duration // how long deleted bodies stay on the drives
	grace     time.Duration // how long a graceful stop waits for requests
	logLevel  slog.Level

	credentials *credentials // from the environment; nil: kept with the drives
}

func newServerCommand() *cobra.Command {
	cfg := nodeConfig{roles: rpc.Gateway | rpc.Storage | rpc.Meta}
	var code string
	cmd := &cobra.Command{
		Use:   "server DIR...",
		Short: "Serve objects from drives: everything in one process, alone or as a node of a cluster",
		Long: `Serve the S3 API from one directory or many. Every directory is a drive; any m of
them may die without a client noticing. An empty directory in the place of a lost drive
is filled again without a command.

Credentials are made at the first start and kept in the drives (kintsugi.credentials, mode
0600). KINTSUGI_ROOT_ACCESS_KEY and KINTSUGI_ROOT_SECRET_KEY, or the same names with _FILE, override them.

With --join the process is a node of a cluster: start the same line on every host, each with its own --listen.
Any m nodes may die then. Credentials come from the environment or are derived from the cluster secret:
kintsugi admin credentials shows them.`,
		Example: `  kintsugi server ./data
  kintsugi server ./data/d{1...6}
  kintsugi server --s3-addr 0.0.0.0:9000 --ec 8+4 /disk{1...16}
  kintsugi server --listen 10.0.0.1 --join 10.0.0.1,10.0.0.2,10.0.0.3 --cluster-secret-file cluster.secret /disk{1...4}`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := cfg.read(code, args); err != nil {
				return err
			}
			if !cfg.isCluster() {
				return runServer(cmd.Context(), cfg.serverConfig, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			if err := cfg.complete(cmd.Flags().Changed); err != nil {
				return err
			}
			return runNode(cmd.Context(), cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	addServeFlags(cmd, &cfg.serverConfig, &code, true)
	addNodeFlags(cmd, &cfg)
	cmd.Flags().IntVar(&cfg.replicas, "meta-replicas", 0, "replicas of the metadata; default: as many as survive what the data survives")
	return cmd
}

// addServeFlags adds the flags that every serving process has; those of the S3 API where it is served.
func addServeFlags(cmd *cobra.Command, cfg *serverConfig, code *string, s3 bool) {
	flags := cmd.Flags()
	if s3 {
		flags.StringVar(&cfg.s3Addr, "s3-addr", "127.0.0.1:9000", "address of the S3 API")
		flags.StringVar(&cfg.region, "region", "us-east-1", "region that requests are signed for")
		flags.StringSliceVar(&cfg.domains, "domain", nil, "domain for virtual-host style requests (bucket.DOMAIN); may be repeated")
	}
	flags.StringVar(&cfg.adminAddr, "admin-addr", "127.0.0.1:9001", "address of health and metrics")
	flags.StringVar(&cfg.rpcAddr, "rpc-addr", "127.0.0.1:9002", "address for other nodes")
	flags.StringVar(code, "ec", "", "data+parity shards of a chunk, such as 4+2; default: by the number of drives")
	flags.DurationVar(&cfg.outAfter, "out-after", outAfterDefault, "give a lost drive up after this time and rebuild its shards on the others")
	flags.DurationVar(&cfg.keep, "keep-deleted", keepDefault, "how long deleted bodies stay on the drives, for requests that have just looked them up")
	flags.DurationVar(&cfg.grace, "grace", 30*time.Second, "how long a stop waits for requests under way")
	flags.TextVar(&cfg.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
}

// read takes what is not a plain flag: the directories, the code and the environment.
func (c *serverConfig) read(code string, args []string) (err error) {
	if c.keep < 0 {
		return errors.New("--keep-deleted: want a time such as 30s")
	}
	if c.dirs, err = expandDirs(args); err != nil {
		return err
	}
	if code != "" {
		if c.code, err = erasure.ParseParams(code); err != nil {
			return fmt.Errorf("--ec: %w", err)
		}
	}
	if found, ok, err := credentialsFromEnv(os.Getenv); err != nil {
		return err
	} else if ok {
		c.credentials = &found
	}
	return nil
}

// listeners are the three ports, taken before any drive is touched.
type listeners struct{ s3, admin, rpc net.Listener }

func listen(cfg serverConfig) (l listeners, err error) {
	for _, p := range []struct {
		flag, addr string
		to         *net.Listener
	}{{"--s3-addr", cfg.s3Addr, &l.s3}, {"--admin-addr", cfg.adminAddr, &l.admin}, {"--rpc-addr", cfg.rpcAddr, &l.rpc}} {
		if p.addr == "" {
			continue // a role that does not serve it
		}
		if *p.to, err = net.Listen("tcp", p.addr); err != nil {
			l.close()
			return l, fmt.Errorf("%s: %w; choose another address", p.flag, err)
		}
	}
	return l, nil
}

func (l listeners) close() {
	for _, x := range []net.Listener{l.s3, l.admin, l.rpc} {
		if x != nil {
			x.Close()
		}
	}
}

// serverMemory is the soft limit of the memory of a process with all roles, in bytes.
const serverMemory = 200 << 20

// runServer serves until ctx ends, then drains and stops.
func runServer(ctx context.Context, cfg serverConfig, out, logOut io.Writer) error {
	tuneRuntime(manyProcessors(len(cfg.dirs)), serverMemory)
	log := slog.New(slog.NewTextHandler(logOut, &slog.HandlerOptions{Level: cfg.logLevel}))
	ports, err := listen(cfg)
	if err != nil {
		return err
	}
	defer ports.close()
	e := newEmbedded(cfg, log)
	stopAdmin := serveAdmin(ports.admin, e.adminSite())
	defer stopAdmin()
	if err := e.open(ctx); err != nil {
		if errors.Is(err, ctx.Err()) {
			return nil // told to stop while it started
		}
		return err
	}
	banner(out, cfg, e, ports)
	err = e.serve(ctx, ports)
	return errors.Join(err, e.close())
}

// tuneRuntime sets how many processors the runtime uses, 0 for one per core, and a soft limit of its memory, bytes:
// collect harder rather than grow. The operator's environment wins.
func tuneRuntime(processors int, memory int64) {
	if os.Getenv("GOMAXPROCS") == "" && processors > 0 {
		runtime.GOMAXPROCS(processors)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // memory is mostly pooled buffers; what is collected is small
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
	}
}

// manyProcessors gives blocked syncs processors of their own: a blocked fdatasync keeps its P until the monitor
// takes it back, and with few of them group commit starves.
func manyProcessors(drives int) int { return max(8, runtime.NumCPU()+drives) }

// banner tells how to use the server. Secrets are printed only when they were just made.
func banner(out io.Writer, cfg serverConfig, e *embedded, ports listeners) {
	m := e.view.Map()
	open := len(e.shelf.openBays())
	survives := replica.Tolerates(min(e.wantReplicas(m), len(m.Drives)))
	fmt.Fprintf(out, "Kintsugi %s: %d of %d drives, code %d+%d: any %d of them may die\n", version, open, len(m.Drives), m.K, m.M, min(m.M, survives))
	if survives < m.M {
		fmt.Fprintf(out, "NOTE: data survives the loss of %d drives, metadata of %d at once: --meta-replicas %d makes them equal\n", m.M, survives, 2*m.M+1)
	}
	if m.M == 0 {
		fmt.Fprintln(out, "WARNING: there is no redundancy: a lost drive loses its objects. Name more directories, such as ./data/d{1...6}")
	}
	endpoint := "http://" + ports.s3.Addr().String()
	fmt.Fprintf(out, "\n  endpoint    %s   (region %s)\n  access key  %s\n", endpoint, cfg.region, e.credentials.accessKey)
	switch {
	case e.credentialsNew:
		fmt.Fprintf(out, "  secret key  %s\n              kept in %s/%s\n", e.credentials.secretKey, cfg.dirs[0], credentialsName)
	case cfg.credentials != nil:
		fmt.Fprintln(out, "  secret key  from the environment")
	default:
		fmt.Fprintf(out, "  secret key  in %s\n", e.credentials.source)
	}
	fmt.Fprintf(out, "\n  export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=... AWS_DEFAULT_REGION=%s\n  aws --endpoint-url %s s3 ls\n\n",
		e.credentials.accessKey, cfg.region, endpoint)
	fmt.Fprintf(out, "ready s3=%s admin=http://%s rpc=%s pid=%d\n", endpoint, ports.admin.Addr(), ports.rpc.Addr(), os.Getpid())
}
