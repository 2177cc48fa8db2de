package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"kintsugi/bench"
	"kintsugi/cmd/kintsugi/admin"
)

func newAdminRebuildCommand(f *adminFlags) *cobra.Command {
	var limit string
	var noWait bool
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Compare every shard anew and repair what is missing, until nothing is",
		Long: `Compare every shard with the other drives and repair what is missing or damaged. The cluster does so by itself; this
does it now, and waits. --limit bounds what repair reads and writes from now on, for each drive; clients go first in any case.`,
		Example: `  kintsugi admin rebuild
  kintsugi admin rebuild --limit 200MB/s
  kintsugi admin rebuild --limit default --no-wait`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			order := admin.OrderRequest{Rebuild: true}
			if cmd.Flags().Changed("limit") {
				bytes, err := parseRate(limit)
				if err != nil {
					return usageError(fmt.Errorf("--limit: %w", err))
				}
				order.RepairLimit = &bytes
			}
			return giveOrder(cmd, f, order, admin.RebuildGoal, noWait)
		},
	}
	cmd.Flags().StringVar(&limit, "limit", "", `bytes per second and drive, such as 200MB/s; "default" for the default`)
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until nothing is missing")
	return cmd
}

func newAdminScrubCommand(f *adminFlags) *cobra.Command {
	var noWait bool
	cmd := &cobra.Command{
		Use:     "scrub",
		Short:   "Read every shard to find damage, now",
		Long:    "Read every shard and verify its checksums. Every drive does so by itself within a week; this does it now. What is damaged is rebuilt.",
		Example: "  kintsugi admin scrub --no-wait",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return giveOrder(cmd, f, admin.OrderRequest{Scrub: true}, admin.ScrubGoal, noWait)
		},
	}
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until everything has been read")
	return cmd
}

// giveOrder asks all drives for something and waits until it is done.
func giveOrder(cmd *cobra.Command, f *adminFlags, request admin.OrderRequest, goal func(admin.Order) admin.Goal, noWait bool) error {
	return f.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
		order, err := c.Order(ctx, request)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if err := f.print(out, order, func() error { return admin.WriteOrder(out, order) }); err != nil || noWait {
			return err
		}
		if _, err := admin.Wait(ctx, c, goal(order), cmd.ErrOrStderr(), isTerminal(cmd.ErrOrStderr())); err != nil {
			return err
		}
		s, err := c.Status(ctx, true)
		if err != nil {
			return err
		}
		if s.Health != admin.Healthy && !f.asJSON {
			if err := admin.WriteProblems(out, s.Problems); err != nil {
				return err
			}
		}
		return healthError(s.Health, "the cluster")
	})
}

// parseRate reads "200MB/s"; 0 is the default.
func parseRate(text string) (int64, error) {
	if text == "default" {
		return 0, nil
	}
	bytes, err := bench.ParseSize(strings.TrimSuffix(text, "/s"))
	if err == nil && bytes < 1<<16 {
		err = fmt.Errorf("%q is less than 64KiB/s: nothing would be repaired in time", text)
	}
	return bytes, err
}
