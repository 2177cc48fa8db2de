// Command kintsugi is the whole object store in one binary: the server, the
// load generator and what else a person runs. It wires packages together and
// reads flags and environment; what it wires it must not know from inside.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := newRootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "kintsugi:", err)
		os.Exit(exitCode(err))
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kintsugi",
		Short: "An S3-compatible object store that is meant to be broken",
		Long: `Kintsugi keeps objects in Reed-Solomon shards on drives of which any m may die.

Start with one command on one machine:

  kintsugi server ./data/d{1...6}`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newServerCommand(), newGatewayCommand(), newStorageNodeCommand(), newMetaCommand(),
		newAdminCommand(), newAuditCommand(), newDevCommand(), newBenchCommand(), newVersionCommand())
	return root
}
