package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
)

// nodeConfig is what the flags and the environment of a process of a cluster say.
type nodeConfig struct {
	serverConfig
	roles      rpc.Role
	name       string   // unique in the cluster; "": its rpc address
	zone       string   // what fails together, beyond the node
	listenHost string   // of those addresses that are not given
	join       []string // rpc addresses of the seeds
	secretFile string
	secret     *secret.Secret

	dial       func(ctx context.Context, addr string) (net.Conn, error) // nil: TCP
	rpcVersion uint8                                                    // spoken at most; 0: the newest. Lower ones are for tests of mixed releases
}

const (
	portS3    = "9000"
	portAdmin = "9001"
	portRPC   = "9002"
)

// secretFileEnv names the file with the cluster secret where no flag does.
const secretFileEnv = "KINTSUGI_CLUSTER_SECRET_FILE"

// addNodeFlags adds the flags that make a process one of a cluster.
func addNodeFlags(cmd *cobra.Command, cfg *nodeConfig) {
	flags := cmd.Flags()
	flags.StringVar(&cfg.listenHost, "listen", "", "host or address that other nodes reach this one at")
	flags.StringSliceVar(&cfg.join, "join", nil, "addresses of metadata nodes, the same list on every node (host or host:port)")
	flags.StringVar(&cfg.secretFile, "cluster-secret-file", "", "file with the cluster secret, mode 0600 (default: $"+secretFileEnv+")")
	flags.StringVar(&cfg.name, "node", "", "name of this node, unique in the cluster (default: its address)")
	flags.StringVar(&cfg.zone, "zone", "", "zone of this node: shards are spread over zones first")
}

// isCluster tells whether the flags ask for a process of a cluster.
func (c *nodeConfig) isCluster() bool {
	return len(c.join) > 0 || c.listenHost != "" || c.secretFile != ""
}

// complete fills in what was not given and refuses what cannot work. changed tells whether a flag was given.
func (c *nodeConfig) complete(changed func(flag string) bool) (err error) {
	if len(c.join) == 0 {
		return errors.New("--join: name the metadata nodes, such as --join 10.0.0.1,10.0.0.2,10.0.0.3")
	}
	for i, addr := range c.join {
		c.join[i] = withPort(addr, portRPC)
	}
	if !changed("rpc-addr") {
		if c.listenHost == "" {
			return errors.New("--listen: name the address that other nodes reach this one at")
		}
		c.rpcAddr = withPort(c.listenHost, portRPC)
	}
	if c.roles&rpc.Gateway == 0 {
		c.s3Addr = ""
	} else if !changed("s3-addr") && c.listenHost != "" {
		c.s3Addr = withPort(c.listenHost, portS3)
	}
	if host, _, err := net.SplitHostPort(c.rpcAddr); err != nil {
		return fmt.Errorf("--rpc-addr: %w", err)
	} else if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("--listen, --rpc-addr: %q is no address that others can reach: name one of this host", host)
	}
	if c.secretFile == "" {
		c.secretFile = os.Getenv(secretFileEnv)
	}
	if c.secretFile == "" {
		return errors.New("--cluster-secret-file: name the file with the cluster secret; make one with: (umask 077; head -c 32 /dev/urandom | base64 > cluster.secret) and copy it to every node")
	}
	c.secret, err = secret.Load(c.secretFile)
	return err
}

// withPort adds a port to a host that has none.
func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// roleCommand describes one of the commands that run a single role.
type roleCommand struct {
	roles       rpc.Role
	use, short  string
	long        string
	example     string
	dirs        bool
	serveS3Flag bool
}

func newGatewayCommand() *cobra.Command {
	return newRoleCommand(roleCommand{
		roles: rpc.Gateway, use: "gateway", short: "Serve the S3 API of a cluster: stateless, as many as you like",
		long:        "A gateway keeps nothing: it cuts objects into shards and sends them to the storage nodes. Put any balancer before several.",
		example:     "  kintsugi gateway --listen 10.0.0.7 --join 10.0.0.1,10.0.0.2,10.0.0.3 --cluster-secret-file cluster.secret",
		serveS3Flag: true,
	})
}

func newStorageNodeCommand() *cobra.Command {
	return newRoleCommand(roleCommand{
		roles: rpc.Storage, use: "storagenode DIR...", short: "Keep shards of a cluster on drives",
		long:    "A storage node keeps shards on its drives, verifies them and rebuilds what other drives have lost. An empty directory becomes a new drive.",
		example: "  kintsugi storagenode --listen 10.0.0.4 --join 10.0.0.1,10.0.0.2,10.0.0.3 --cluster-secret-file cluster.secret /disk{1...4}",
		dirs:    true,
	})
}

func newMetaCommand() *cobra.Command {
	return newRoleCommand(roleCommand{
		roles: rpc.Meta, use: "meta DIR...", short: "Keep the metadata of a cluster",
		long: `A metadata node keeps one replica of the metadata on one of its drives. With three of them one may die, with
five two; any that are started beyond what is needed stand by and take the place of a dead one by themselves.`,
		example: "  kintsugi meta --listen 10.0.0.1 --join 10.0.0.1,10.0.0.2,10.0.0.3 --cluster-secret-file cluster.secret /var/lib/kintsugi",
		dirs:    true,
	})
}

func newRoleCommand(role roleCommand) *cobra.Command {
	cfg := nodeConfig{roles: role.roles}
	var code string
	cmd := &cobra.Command{
		Use: role.use, Short: role.short, Long: role.long, Example: role.example,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := cfg.read(code, args); err != nil {
				return err
			}
			if err := cfg.complete(cmd.Flags().Changed); err != nil {
				return err
			}
			return runNode(cmd.Context(), cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	if role.dirs {
		cmd.Args = cobra.MinimumNArgs(1)
	}
	addNodeFlags(cmd, &cfg)
	addServeFlags(cmd, &cfg.serverConfig, &code, role.serveS3Flag)
	return cmd
}

// outAfterDefault is when a drive that is gone is given up.
const outAfterDefault = 5 * time.Minute

// keepDefault is how long a body that was replaced or deleted stays: longer than the way from its lookup to its first byte.
const keepDefault = 30 * time.Second

// tune fits the runtime to the roles: many processes may share a machine.
func (c *nodeConfig) tune() {
	memory := int64(24 << 20)
	for _, role := range []struct {
		bit   rpc.Role
		bytes int64
	}{{rpc.Gateway, 64 << 20}, {rpc.Meta, 32 << 20}, {rpc.Storage, 12 << 20}} {
		if c.roles&role.bit != 0 {
			memory += role.bytes
		}
	}
	processors := 0 // a gateway syncs nothing
	switch {
	case c.roles&rpc.Gateway == 0:
		processors = runtime.NumCPU() + len(c.dirs) // more would only wake each other: others share the machine
	case len(c.dirs) > 0:
		processors = manyProcessors(len(c.dirs))
	}
	tuneRuntime(processors, min(memory, serverMemory))
}
