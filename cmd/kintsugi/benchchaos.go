package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"kintsugi/bench/chaos"
	"kintsugi/bench/chaos/cluster"
	"kintsugi/bench/chaos/report"
	"kintsugi/bench/chaos/scenario"
)

// errChaosFailed makes the exit code tell that an oracle found something; the table has said what.
var errChaosFailed = errors.New("the run did not pass")

// chaosFlags are the flags of "bench chaos".
type chaosFlags struct {
	config            chaos.Config
	scenario, code    string
	rate              float64
	nodes, metas      int
	gateways, clients int
	outAfter          time.Duration
}

func newBenchChaosCommand() *cobra.Command { return newBenchChaosCommandFor(&chaosFlags{}) }

func newBenchChaosCommandFor(f *chaosFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Break a cluster under load and prove that nothing is lost",
		Long: `Starts a cluster of processes on this machine, keeps it under load through the S3 API, breaks it by a schedule that follows
from the seed, checks every answer, and tells what happened: a verdict, the exit code, and with --out a report to open in a browser.

With --endpoint it takes a cluster that runs already, of this project or any other. It breaks it by --fault-command, in which {fault} and {node} are
replaced: kill and start, stop and continue, restart, wipe, and so on for n1, n2..., m1..., g1.... Exit code 77 says that it cannot; the
fault then counts as skipped. The keys come from the environment, as for the other benchmarks.`,
		Example: `  kintsugi bench chaos --out report
  kintsugi bench chaos --scenario beyond-m --seed 7 --nodes 12 --ec 8+4 --duration 10m --out report
  kintsugi bench chaos --endpoint http://127.0.0.1:9100 --fault-command './my-kill.sh {fault} {node}'
  kintsugi bench chaos list`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(cmd *cobra.Command, _ []string) error { return runChaos(cmd, f) },
	}
	flags, c := cmd.Flags(), &f.config
	flags.StringVar(&f.scenario, "scenario", scenario.DefaultName, "name of a scenario, or a file that ends with .yaml")
	flags.Uint64Var(&c.Seed, "seed", 0, "what everything follows from; 0 draws one")
	flags.DurationVar(&c.Duration, "duration", 0, "repeat the schedule for so long (default: once)")
	flags.DurationVar(&c.HealLimit, "heal-limit", 0, "time for the cluster to mend itself after a fault; one that needs more has failed (default 2m)")
	flags.StringVar(&c.Out, "out", "", "directory for index.html and report.json")
	flags.StringVar(&c.Dir, "dir", "", "directory for the cluster's files, which stays (default: a temporary one)")
	flags.BoolVar(&c.Keep, "keep", false, "keep the temporary directory")
	flags.IntVar(&f.nodes, "nodes", 0, "storage nodes (default: as the scenario says, as all below)")
	flags.IntVar(&f.metas, "metas", 0, "metadata nodes")
	flags.IntVar(&f.gateways, "gateways", 0, "gateways")
	flags.StringVar(&f.code, "ec", "", "data+parity shards of a chunk, such as 4+2")
	flags.DurationVar(&f.outAfter, "out-after", 0, "give a lost drive up after this time")
	flags.Float64Var(&f.rate, "rate", 0, "requests per second")
	flags.IntVar(&f.clients, "clients", 0, "requests in flight at most")
	flags.StringSliceVar(&c.Endpoints, "endpoint", nil, "URLs of a cluster that runs already")
	flags.StringVar(&c.FaultCommand, "fault-command", "", "command that breaks that cluster, with {fault} and {node}")
	flags.StringVar(&c.Region, "region", "us-east-1", "region that requests are signed for")
	flags.StringVar(&c.Bucket, "bucket", "", "bucket, which nobody else may use (default: a new one)")
	cmd.AddCommand(newBenchChaosListCommand(), newBenchChaosDrivesCommand())
	return cmd
}

// settle makes the configuration of the flags, the scenario and the environment.
func (f *chaosFlags) settle(cmd *cobra.Command) (err error) {
	c := &f.config
	if c.Scenario, err = scenario.Find(f.scenario); err != nil {
		return err
	}
	shape, load := &c.Scenario.Cluster, &c.Scenario.Load
	for _, n := range []struct {
		given int
		into  *int
	}{{f.nodes, &shape.Nodes}, {f.metas, &shape.Metas}, {f.gateways, &shape.Gateways}, {f.clients, &load.Clients}} {
		if n.given > 0 {
			*n.into = n.given
		}
	}
	if f.code != "" {
		if shape.Code, err = scenario.ParseCode(f.code); err != nil {
			return fmt.Errorf("--ec: %w", err)
		}
	}
	if err := c.Scenario.Validate(); err != nil {
		return err
	}
	if f.outAfter > 0 {
		shape.OutAfter = f.outAfter
	}
	if f.rate > 0 {
		load.Rate = f.rate
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64N(1_000_000) + 1
	}
	c.Keep = c.Keep || c.Dir != ""
	c.Replay = replayLine(cmd, c.Seed)
	if len(c.Endpoints) > 0 {
		c.AccessKey, c.SecretKey, err = benchKeys("KINTSUGI_ROOT_", "ACCESS_KEY", "SECRET_KEY")
		if err == nil && c.AccessKey == "" {
			c.AccessKey, c.SecretKey, err = benchKeys("AWS_", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
		}
		return err
	}
	if c.Scenario.NeedsFaultyDrives() {
		c.FaultyDrives = chaosDrives
	}
	c.Program, err = os.Executable()
	return err
}

// replayLine is the command that makes the same run again.
func replayLine(cmd *cobra.Command, seed uint64) string {
	line := "kintsugi bench chaos"
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		switch flag.Name {
		case "seed", "out", "dir", "keep":
		default:
			value := strings.Trim(flag.Value.String(), "[]")
			if strings.ContainsAny(value, " '{}$\"\\*?;&|<>()") {
				value = shellQuote(value)
			}
			line += " --" + flag.Name + " " + value
		}
	})
	return fmt.Sprintf("%s --seed %d", line, seed)
}

func runChaos(cmd *cobra.Command, f *chaosFlags) error {
	if err := f.settle(cmd); err != nil {
		return err
	}
	if f.needsNetwork() {
		return runInNetwork(cmd, f.config.Seed)
	}
	if f.config.OwnNetwork {
		if err := cluster.JoinNetwork(); err != nil {
			return err
		}
	}
	out := cmd.OutOrStdout()
	f.config.Stdout, f.config.TTY, f.config.Width = out, isTerminal(out), terminalWidth(out)
	data, err := chaos.Run(cmd.Context(), f.config)
	if data.Format == 0 {
		return err
	}
	if f.config.Out != "" {
		err = errors.Join(err, writeReport(f.config.Out, &data))
	}
	err = errors.Join(err, data.WriteTable(out))
	if f.config.Out != "" {
		fmt.Fprintln(out, "report:", filepath.Join(f.config.Out, "index.html"))
	}
	if data.Result == report.Failed || data.Result == report.Broken {
		err = errors.Join(err, errChaosFailed)
	}
	return err
}

// terminalWidth is 0 if w is no terminal.
func terminalWidth(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// chaosNetwork is in the environment of a run that has a network namespace of its own.
const chaosNetwork = "KINTSUGI_CHAOS_NETWORK"

// needsNetwork tells whether the run should be made in a network of its own. Who is not root goes without: then some faults are skipped.
func (f *chaosFlags) needsNetwork() bool {
	c := &f.config
	if _, c.OwnNetwork = os.LookupEnv(chaosNetwork); c.OwnNetwork {
		return false
	}
	return len(c.Endpoints) == 0 && c.Scenario.NeedsNetwork() && os.Geteuid() == 0
}

// runInNetwork makes the same run in a process that has a network of its own.
func runInNetwork(cmd *cobra.Command, seed uint64) error {
	child := exec.CommandContext(cmd.Context(), os.Args[0], append(os.Args[1:], "--seed", strconv.FormatUint(seed, 10))...)
	child.Path = "/proc/self/exe"
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, cmd.OutOrStdout(), cmd.ErrOrStderr()
	child.Env = append(os.Environ(), chaosNetwork+"=1")
	child.Cancel = func() error { return child.Process.Signal(os.Interrupt) }
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cluster.NewNetwork(child)
	runtime.LockOSThread() // the child dies with the thread that started it
	defer runtime.UnlockOSThread()
	var exit *exec.ExitError
	if err := child.Run(); !errors.As(err, &exit) {
		return err
	}
	return errChaosFailed // it has said why
}

// writeReport writes the page and its figures.
func writeReport(dir string, data *report.Data) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer) error{"report.json": data.WriteJSON, "index.html": data.WriteHTML} {
		file, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := errors.Join(write(file), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

func newBenchChaosListCommand() *cobra.Command {
	var names bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the scenarios and what each proves",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := scenario.All()
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, s := range all {
				if names {
					fmt.Fprintln(t, s.Name)
					continue
				}
				name := s.Name
				for _, line := range wrap(s.Proves, 90) {
					fmt.Fprintf(t, "%s\t%s\n", name, line)
					name = ""
				}
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&names, "names", false, "print the names alone")
	return cmd
}

// wrap breaks a text into lines of at most so many bytes.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}
