package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"kintsugi/cmd/kintsugi/admin"
	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
)

// adminFlags say which cluster a command is about, and how it prints.
type adminFlags struct {
	addrs      []string // of any nodes
	secretFile string
	dir        string // of `kintsugi dev`: instead of the two above
	asJSON     bool
}

const adminAddrDefault = "127.0.0.1:" + portRPC

func newAdminCommand() *cobra.Command {
	f := &adminFlags{}
	cmd := &cobra.Command{
		Use:   "admin COMMAND",
		Short: "Look at a cluster and change it",
		Long: `Look at a cluster and change it. Any node will do as the address: it knows who decides.

Exit codes:
  0  fine; work that was waited for is complete
  1  an error, or work that was not waited for until its end
  2  the command line is wrong
  3  degraded: all data can be read, but something is down or lacks redundancy (status, why)
  4  at risk: the next loss makes data or metadata unavailable, or it is so already (status, why)`,
		Example: `  kintsugi admin status --addr 10.0.0.1 --cluster-secret-file cluster.secret
  kintsugi admin status --dir ./cluster --watch
  kintsugi admin plan drain n3 --dir ./cluster`,
		Args: usageArgs(noCommand),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringSliceVar(&f.addrs, "addr", nil, "address of any node, for other nodes (default "+adminAddrDefault+"); may be repeated")
	flags.StringSliceVar(&f.addrs, "join", nil, "the same as --addr")
	flags.StringVar(&f.secretFile, "cluster-secret-file", "", "file with the cluster secret (default: $"+secretFileEnv+")")
	flags.StringVar(&f.dir, "dir", "", "directory of kintsugi dev, instead of addresses and secret")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	cmd.AddCommand(newAdminStatusCommand(f), newAdminNodesCommand(f), newAdminDrivesCommand(f), newAdminPlanCommand(f),
		newAdminDrainCommand(f), newAdminUndrainCommand(f), newAdminRemoveCommand(f), newAdminWeightCommand(f),
		newAdminRebuildCommand(f), newAdminScrubCommand(f), newAdminWhyCommand(f), newAdminConsistencyCommand(f),
		newAdminCredentialsCommand(f), newAdminTokenCommand(f))
	return cmd
}

// noCommand refuses an argument where a command is wanted: cobra would print the help and be content.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unknown command %q: see %s --help", args[0], cmd.CommandPath())
	}
	return nil
}

// connect returns a client of the cluster, and what ends its connections.
func (f *adminFlags) connect() (c *admin.Client, stop func(), err error) {
	addrs, err := f.addresses()
	if err != nil {
		return nil, nil, err
	}
	s, err := f.secret()
	if err != nil {
		return nil, nil, err
	}
	client, err := rpc.NewClient(rpc.Config{
		Self: rpc.Identity{Node: "admin", Roles: rpc.Admin, Incarnation: rand.Uint64()}, Secret: s,
	})
	if err != nil {
		return nil, nil, err
	}
	return admin.NewClient(client, addrs), func() { _ = client.Close() }, nil
}

// do runs f with a client of the cluster.
func (f *adminFlags) do(ctx context.Context, work func(context.Context, *admin.Client) error) error {
	client, stop, err := f.connect()
	if err != nil {
		return err
	}
	defer stop()
	err = work(ctx, client)
	if errors.Is(err, admin.ErrNoCoordinator) || errors.Is(err, admin.ErrUnavailable) {
		return exitWith(exitAtRisk, err)
	}
	return err
}

// addresses are those to begin with.
func (f *adminFlags) addresses() ([]string, error) {
	var addrs []string
	if f.dir != "" && len(f.addrs) == 0 {
		var err error
		if addrs, err = addressesOf(filepath.Join(f.dir, "cluster.json")); err != nil {
			return nil, err
		}
	}
	for _, a := range f.addrs {
		addrs = append(addrs, withPort(a, portRPC))
	}
	if len(addrs) == 0 {
		addrs = []string{adminAddrDefault}
	}
	return addrs, nil
}

// addressesOf reads the addresses in the cluster.json of `kintsugi dev`.
func addressesOf(name string) ([]string, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there: is `kintsugi dev --dir %s` running?", name, filepath.Dir(name))
	}
	if err != nil {
		return nil, err
	}
	var cluster struct {
		Processes []struct{ Role, Addr string }
	}
	if err := json.Unmarshal(data, &cluster); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var metas, others []string // metadata nodes first: one of them is the coordinator
	for _, p := range cluster.Processes {
		switch {
		case p.Addr == "":
		case p.Role == "meta" || p.Role == "server":
			metas = append(metas, p.Addr)
		default:
			others = append(others, p.Addr)
		}
	}
	if len(metas)+len(others) == 0 {
		return nil, fmt.Errorf("%s names no process", name)
	}
	return append(metas, others...), nil
}

// secret reads the cluster secret.
func (f *adminFlags) secret() (*secret.Secret, error) {
	name := f.secretFile
	if name == "" && f.dir != "" {
		name = filepath.Join(f.dir, "cluster.secret")
	}
	if name == "" {
		name = os.Getenv(secretFileEnv)
	}
	if name == "" {
		return nil, usageError(errors.New("--cluster-secret-file: name the file with the cluster secret, or with --dir the directory of kintsugi dev"))
	}
	return secret.Load(name)
}

// print writes v as JSON where that is wanted, else as text does.
func (f *adminFlags) print(out io.Writer, v any, text func() error) error {
	if !f.asJSON {
		return text()
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
