package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"kintsugi/cmd/kintsugi/admin"
)

func newAdminWhyCommand(f *adminFlags) *cobra.Command {
	var request admin.WhyRequest
	var all bool
	cmd := &cobra.Command{
		Use:   "why BUCKET/KEY",
		Short: "Explain one object: where its shards are, and what stands in the way of those that are not well",
		Long: `Explain one object: its chunks, where each shard belongs and where it really is, which are healthy, and what stands
in the way of the rest. Ends with 0 if every chunk has all its shards, 3 if some lack redundancy, 4 if the next loss, or
one that has happened, makes it unreadable.`,
		Example: `  kintsugi admin why photos/2024/a.jpg
  kintsugi admin why photos/2024/a.jpg --version-id 00000000000004d2 --verify --all`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			bucket, key, ok := strings.Cut(args[0], "/")
			if !ok || bucket == "" || key == "" {
				return usageError(fmt.Errorf("%q: want BUCKET/KEY", args[0]))
			}
			request.Bucket, request.Key = bucket, key
			return f.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error { return explain(ctx, cmd, f, c, request, all) })
		},
	}
	cmd.Flags().StringVar(&request.Version, "version-id", "", "version, as S3 names it (default: the current one)")
	cmd.Flags().BoolVar(&request.Verify, "verify", false, "read all shards and verify their checksums")
	cmd.Flags().BoolVar(&all, "all", false, "show chunks that are well, too")
	return cmd
}

// explain asks for an object page by page: it may have a million chunks.
func explain(ctx context.Context, cmd *cobra.Command, f *adminFlags, c *admin.Client, request admin.WhyRequest, all bool) error {
	why, err := c.Why(ctx, request)
	if err != nil {
		return err
	}
	for why.Next > 0 {
		request.From, request.Version = why.Next, why.Version
		page, err := c.Why(ctx, request)
		if err != nil {
			return err
		}
		if len(page.Detail) == 0 {
			return errors.New("the cluster sent an empty page")
		}
		why.Merge(page)
	}
	s, err := c.Status(ctx, false) // for the names of the drives
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if err := f.print(out, why, func() error { return admin.WriteWhy(out, why, s.Drives, all) }); err != nil {
		return err
	}
	return healthError(why.Health, request.Bucket+"/"+request.Key)
}

func newAdminConsistencyCommand(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "consistency BUCKET [eventual|linearizable]",
		Short: "Say or change how reads of a bucket are answered",
		Long: `Say or change how reads of a bucket are answered that do not choose themselves. linearizable, the default: a read sees
every write that was answered before it began. eventual: any replica answers, so that reads go on where there
is no quorum; they may be late by a moment.`,
		Example: "  kintsugi admin consistency logs eventual",
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			set := ""
			if len(args) == 2 {
				if set = args[1]; set != admin.Eventual && set != admin.Linearizable {
					return usageError(fmt.Errorf("%q: want %s or %s", set, admin.Eventual, admin.Linearizable))
				}
			}
			return f.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
				answer, err := c.Consistency(ctx, args[0], set)
				if err != nil {
					return err
				}
				out := cmd.OutOrStdout()
				return f.print(out, answer, func() error {
					_, err := fmt.Fprintf(out, "%s: %s\n", answer.Bucket, answer.Consistency)
					return err
				})
			})
		},
	}
}
