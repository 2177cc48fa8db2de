package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"kintsugi/cmd/kintsugi/admin"
)

// watchInterval is the time between two looks of `status --watch`.
const watchInterval = 2 * time.Second

func newAdminStatusCommand(f *adminFlags) *cobra.Command {
	var watch, noChunks bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the cluster is, and what to do about what is bad",
		Long: `Say how the cluster is: nodes, drives, metadata, how many shards every chunk has at this moment, repair and space.
Every bad state comes with the next step. Ends with 0 if all is well, 3 if degraded, 4 if data or metadata is at risk.`,
		Example: `  kintsugi admin status --dir ./cluster --watch
  kintsugi admin status --json | jq .chunks`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
				out := cmd.OutOrStdout()
				if watch {
					return watchStatus(ctx, c, f, out, !noChunks)
				}
				s, err := c.Status(ctx, !noChunks)
				if err != nil {
					return err
				}
				if err := f.print(out, s, func() error { return admin.WriteStatus(out, s) }); err != nil {
					return err
				}
				return healthError(s.Health, "the cluster")
			})
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "look again every two seconds until interrupted; with --json a line each")
	cmd.Flags().BoolVar(&noChunks, "no-chunks", false, "do not count the shards of all chunks, which takes a while in a large cluster")
	return cmd
}

// watchStatus prints the status again and again until ctx ends, which is how it is meant to end.
func watchStatus(ctx context.Context, c *admin.Client, f *adminFlags, out io.Writer, chunks bool) error {
	live := isTerminal(out)
	for ctx.Err() == nil {
		s, err := c.Status(ctx, chunks)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			fmt.Fprintf(out, "%s  %v\n", time.Now().UTC().Format(time.TimeOnly), err)
		case f.asJSON:
			if err := json.NewEncoder(out).Encode(s); err != nil {
				return err
			}
		default:
			if live {
				fmt.Fprint(out, "\x1b[H\x1b[2J") // to the top, and clear
			}
			fmt.Fprintf(out, "%s UTC\n", s.Time.Format(time.DateTime))
			if err := admin.WriteStatus(out, s); err != nil {
				return err
			}
			fmt.Fprintln(out)
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchInterval):
		}
	}
	return nil
}

func newAdminNodesCommand(f *adminFlags) *cobra.Command {
	return newAdminListCommand(f, "nodes", "List the processes of the cluster", func(s admin.Status) any { return s.Nodes }, admin.WriteNodes)
}

func newAdminDrivesCommand(f *adminFlags) *cobra.Command {
	return newAdminListCommand(f, "drives", "List the drives: state, share of the shards, what they hold", func(s admin.Status) any { return s.Drives }, admin.WriteDrives)
}

// newAdminListCommand makes a command that prints a part of the status.
func newAdminListCommand(f *adminFlags, name, short string, part func(admin.Status) any, write func(io.Writer, admin.Status) error) *cobra.Command {
	return &cobra.Command{
		Use:     name,
		Short:   short,
		Example: "  kintsugi admin " + name + " --dir ./cluster",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
				s, err := c.Status(ctx, false)
				if err != nil {
					return err
				}
				return f.print(cmd.OutOrStdout(), part(s), func() error { return write(cmd.OutOrStdout(), s) })
			})
		},
	}
}
