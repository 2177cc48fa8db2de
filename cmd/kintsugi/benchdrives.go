package main

import (
	"os"

	"github.com/spf13/cobra"

	"kintsugi/bench/chaos/faultdisk"
)

// chaosDrives are the arguments with which the program serves drives that can be ill.
var chaosDrives = []string{"bench", "chaos", "drives"}

// newBenchChaosDrivesCommand returns the command that a run of the chaos benchmark starts for drives that can be ill.
func newBenchChaosDrivesCommand() *cobra.Command {
	return &cobra.Command{
		Use:          "drives",
		Short:        "Serve file systems to a run of the benchmark, on standard input and output",
		Args:         cobra.NoArgs,
		Hidden:       true,
		SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			return faultdisk.Serve(faultdisk.Pipes{ReadCloser: os.Stdin, Out: os.Stdout})
		},
	}
}
