package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"kintsugi/bench"
)

// errBenchFailed makes the exit code tell that requests failed; the table has said which.
var errBenchFailed = errors.New("some requests failed")

// newBenchCommand returns "kintsugi bench", the load generator.
func newBenchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure an S3 endpoint, this project's or any other",
		Long: `Puts load on an S3 endpoint and reports rates, latencies and errors.

The keys come from KINTSUGI_ROOT_ACCESS_KEY and KINTSUGI_ROOT_SECRET_KEY, else from
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the files that these names with _FILE point to; never from an argument, which every user of
the machine could read. Without keys requests are anonymous.

The exit code is 1 when a request failed. Ctrl-C ends a run early and shows its figures.`,
		Args: cobra.NoArgs,
	}
	for _, sub := range benchCommands {
		cmd.AddCommand(newBenchOperation(sub.operation, sub.short, sub.long, sub.example))
	}
	cmd.AddCommand(newBenchChaosCommand())
	return cmd
}

var benchCommands = []struct {
	operation            bench.Operation
	short, long, example string
}{
	{bench.Put, "Write objects",
		"Writes objects, each under a new key; with --objects, over and over to so many keys.",
		"  kintsugi bench put --size 4KiB --concurrency 64 --duration 30s\n" +
			"  kintsugi bench put --size 10MiB --concurrency 8 --payload signed --server-pid $(pgrep -x kintsugi)\n" +
			"  kintsugi bench put --size 128KiB --rounds 5 --against http://127.0.0.1:9100"},
	{bench.Get, "Read objects",
		"Writes objects, then reads them in random order. With --prepare=false it reads those of an\nearlier run with the same size, bucket and prefix.",
		"  kintsugi bench get --size 4KiB --concurrency 16 --verify\n" +
			"  kintsugi bench get --size 10MiB --concurrency 8 --prepare=false"},
	{bench.Mixed, "Read, write and delete objects",
		"Reads and asks for prepared objects while it writes new ones and deletes some of those.",
		"  kintsugi bench mixed --size 128KiB --mix get=45,head=30,put=15,delete=10 --duration 1m"},
	{bench.List, "List a bucket",
		"Writes keys, ten to a folder, then lists all of them page by page: first every key, then with\nthe delimiter, which folds the folders. Every listing must be complete.",
		"  kintsugi bench list --objects 100000 --concurrency 4"},
}

// benchFlags are the flags that are not a field of bench.Config as they are.
type benchFlags struct {
	config  bench.Config
	size    string
	payload string
	mix     string
	prepare bool
	json    bool
	rounds  int
	against bench.Target // a second endpoint, when it has an address
}

func newBenchOperation(operation bench.Operation, short, long, example string) *cobra.Command {
	f := &benchFlags{config: bench.Config{Operation: operation}}
	cmd := &cobra.Command{
		Use: string(operation), Short: short, Long: long, Example: example, Args: cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBench(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags, c := cmd.Flags(), &f.config
	flags.StringVar(&c.Endpoint, "endpoint", "http://127.0.0.1:9000", "URL of the S3 service")
	flags.StringVar(&c.Region, "region", "us-east-1", "region that requests are signed for")
	flags.StringVar(&c.Bucket, "bucket", "kintsugi-bench", "bucket; made when it does not exist")
	flags.StringVar(&c.Prefix, "prefix", "", "prefix of every key (default: by operation and size)")
	flags.IntVar(&c.Workers, "concurrency", 16, "requests in flight")
	flags.DurationVar(&c.Duration, "duration", 10*time.Second, "time that is measured")
	flags.DurationVar(&c.Warmup, "warmup", time.Second, "time under load that is not counted")
	flags.DurationVar(&c.Timeout, "timeout", time.Minute, "time that one request may take")
	flags.IntVar(&c.Objects, "objects", 0, "number of keys (default: put unlimited, get by size, list 10000)")
	flags.Uint64Var(&c.Seed, "seed", 0, "seed of the objects' bytes and of the order of requests")
	flags.BoolVar(&c.Cleanup, "cleanup", false, "delete the objects below the prefix afterwards")
	flags.BoolVar(&c.Insecure, "insecure", false, "accept any TLS certificate")
	flags.IntVar(&c.ServerPID, "server-pid", 0, "process on this machine whose CPU time per request and memory are reported")
	flags.IntVar(&f.rounds, "rounds", 1, "repeat so often and report medians")
	flags.StringVar(&f.against.Endpoint, "against", "", "URL of a second S3 service to compare with, in turn with the first; its keys come from\nKINTSUGI_AGAINST_ACCESS_KEY and KINTSUGI_AGAINST_SECRET_KEY, else they are the same")
	flags.IntVar(&f.against.ServerPID, "against-pid", 0, "process of the second service")
	flags.BoolVar(&f.json, "json", false, "print the report as JSON")
	if operation != bench.List {
		flags.StringVar(&f.size, "size", "4KiB", "size of every object")
		flags.StringVar(&f.payload, "payload", string(bench.PayloadUnsigned), "how bodies are signed: unsigned, signed or chunked")
	}
	if operation == bench.Get || operation == bench.Mixed {
		flags.BoolVar(&c.Verify, "verify", false, "compare every byte that is read")
	}
	if operation != bench.Put {
		flags.BoolVar(&f.prepare, "prepare", true, "write the objects first")
	}
	if operation == bench.Mixed {
		flags.StringVar(&f.mix, "mix", "get=45,head=30,put=15,delete=10", "shares of the requests")
	}
	return cmd
}

// settle reads the flags that need parsing, and the environment.
func (f *benchFlags) settle() error {
	c := &f.config
	var err error
	if f.size != "" {
		if c.SizeBytes, err = bench.ParseSize(f.size); err != nil {
			return err
		}
	}
	if f.mix != "" {
		if c.Mix, err = bench.ParseMix(f.mix); err != nil {
			return err
		}
	}
	c.Payload = bench.Payload(f.payload)
	c.Reuse = c.Operation != bench.Put && !f.prepare
	c.AccessKey, c.SecretKey, err = benchKeys("KINTSUGI_ROOT_", "ACCESS_KEY", "SECRET_KEY")
	if err == nil && c.AccessKey == "" {
		c.AccessKey, c.SecretKey, err = benchKeys("AWS_", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
	}
	if err != nil {
		return err
	}
	f.against.AccessKey, f.against.SecretKey, err = benchKeys("KINTSUGI_AGAINST_", "ACCESS_KEY", "SECRET_KEY")
	if f.against.AccessKey == "" {
		f.against.AccessKey, f.against.SecretKey = c.AccessKey, c.SecretKey
	}
	return err
}

// benchKeys reads a pair of keys from the environment.
func benchKeys(prefix, accessName, secretName string) (accessKey, secretKey string, err error) {
	if accessKey, err = envOrFile(os.Getenv, prefix+accessName); err != nil {
		return "", "", err
	}
	secretKey, err = envOrFile(os.Getenv, prefix+secretName)
	return accessKey, secretKey, err
}

// benchResult is a report or a comparison.
type benchResult interface {
	WriteTable(io.Writer) error
	WriteJSON(io.Writer) error
	Errors() int
}

// run returns nil for the result when nothing was measured.
func (f *benchFlags) run(ctx context.Context) (benchResult, error) {
	c := f.config
	if f.rounds <= 1 && f.against.Endpoint == "" {
		report, err := bench.Run(ctx, c)
		if report == nil || len(report.Phases) == 0 {
			return nil, err
		}
		return report, err
	}
	targets := []bench.Target{{Endpoint: c.Endpoint, AccessKey: c.AccessKey, SecretKey: c.SecretKey, ServerPID: c.ServerPID}}
	if f.against.Endpoint != "" {
		targets = append(targets, f.against)
	}
	result, err := bench.Compare(ctx, c, targets, max(f.rounds, 1))
	if len(result.Medians) == 0 {
		return nil, err
	}
	return result, err
}

func runBench(ctx context.Context, f *benchFlags, stdout io.Writer, stderr io.Writer) error {
	if err := f.settle(); err != nil {
		return err
	}
	f.config.Progress, f.config.ProgressTTY = stderr, isTerminal(stderr)
	result, err := f.run(ctx)
	if result == nil {
		return err
	}
	write := result.WriteTable
	if f.json {
		write = result.WriteJSON
	}
	err = errors.Join(err, write(stdout))
	if n := result.Errors(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%w: %d", errBenchFailed, n))
	}
	return err
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
