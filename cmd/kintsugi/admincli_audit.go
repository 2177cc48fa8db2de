package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"kintsugi/cmd/kintsugi/admin"
	"kintsugi/storagenode/audit"
)

func newAuditCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "audit DIR...",
		Short: "Read drives from outside and say which chunks have how many healthy shards",
		Long: `Read the drive directories, verify every checksum and say which chunks have how many healthy shards. It asks no
server, changes nothing and does not believe what drives say of themselves. Servers may be running: what is written meanwhile may
be counted or not. Name the drives of all nodes, or chunks will look as if they lacked shards.

Exit codes: 0 every chunk is whole, 3 some lack shards or a shard is damaged, 4 some are at risk or cannot be read.`,
		Example: "  kintsugi audit ./cluster/n{1...9}/d1",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			dirs, err := expandDirs(args)
			if err != nil {
				return usageError(err)
			}
			sum, err := audit.Audit(cmd.Context(), dirs, auditProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			if out := cmd.OutOrStdout(); asJSON {
				err = json.NewEncoder(out).Encode(sum)
			} else {
				err = admin.WriteAudit(out, sum)
			}
			if err != nil {
				return err
			}
			return healthError(admin.AuditHealth(sum), "what is on these drives")
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// auditProgress shows on a terminal how far the reading is.
func auditProgress(out io.Writer) func(done, total int64) {
	if !isTerminal(out) {
		return nil
	}
	var shown time.Time
	return func(done, total int64) {
		if last := done >= total; last || time.Since(shown) > 100*time.Millisecond {
			shown = time.Now()
			fmt.Fprintf(out, "\r\x1b[K%d %% of %s", 100*done/max(total, 1), admin.Size(uint64(total)))
			if last {
				fmt.Fprint(out, "\r\x1b[K")
			}
		}
	}
}
