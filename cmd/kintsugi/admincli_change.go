package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"kintsugi/cmd/kintsugi/admin"
	"kintsugi/meta/membership"
)

func newAdminPlanCommand(f *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan CHANGE",
		Short: "Say what a change will move, and change nothing",
		Long: `Say what a change will move before it is made: slots of the ring and bytes, by drive. A change moves what
its plan says, as long as no other change comes between.`,
		Example: `  kintsugi admin plan add-node --drives 4
  kintsugi admin plan drain n3
  kintsugi admin plan weight 4f1c02d7 200`,
		Args: usageArgs(noCommand),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAdminPlanAddCommand(f))
	for _, c := range []struct{ kind, use, short string }{
		{admin.Drain, "drain NODE|DRIVE", "What moves if the shards of a node or drive go elsewhere"},
		{admin.Undrain, "undrain NODE|DRIVE", "What moves if it is used again"},
		{admin.Weight, "weight DRIVE WEIGHT", "What moves if a drive gets another share"},
	} {
		cmd.AddCommand(newAdminChange(f, c.kind, c.use, c.short, "", true))
	}
	cmd.AddCommand(newAdminRemove(f, true))
	return cmd
}

func newAdminPlanAddCommand(f *adminFlags) *cobra.Command {
	change := admin.Change{Kind: admin.AddNode}
	weight := uint32(membership.DefaultWeight)
	cmd := &cobra.Command{
		Use:     "add-node --drives N",
		Short:   "What moves if a node is added",
		Example: "  kintsugi admin plan add-node --drives 4 --zone rack2",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			change.Weight = &weight
			return planOrChange(cmd, f, change, true, false)
		},
	}
	cmd.Flags().IntVar(&change.Drives, "drives", 1, "number of its drives")
	cmd.Flags().Uint32Var(&weight, "weight", weight, "share of each, among those of the others")
	cmd.Flags().StringVar(&change.Zone, "zone", "", "zone that it is in")
	cmd.Flags().StringVar(&change.Target, "name", "", "its name")
	return cmd
}

func newAdminDrainCommand(f *adminFlags) *cobra.Command {
	return newAdminChange(f, admin.Drain, "drain NODE|DRIVE", "Move the shards of a node or drive elsewhere",
		`Move the shards of a node or drive elsewhere. It is read meanwhile, and takes no new shards. When the command is done
nothing on it is needed: kintsugi admin remove takes it out of the cluster.`, false)
}

func newAdminUndrainCommand(f *adminFlags) *cobra.Command {
	return newAdminChange(f, admin.Undrain, "undrain NODE|DRIVE", "Use a node or drive again that was drained or removed", "", false)
}

func newAdminWeightCommand(f *adminFlags) *cobra.Command {
	return newAdminChange(f, admin.Weight, "weight DRIVE WEIGHT", "Give a drive another share of the shards",
		"Give a drive another share of the shards: one of weight 200 gets twice as many as one of 100, where it can.", false)
}

func newAdminRemoveCommand(f *adminFlags) *cobra.Command { return newAdminRemove(f, false) }

// newAdminChange makes the command for a change of the map, or for its plan.
func newAdminChange(f *adminFlags, kind, use, short, long string, plan bool) *cobra.Command {
	noWait := plan
	args := 1
	if kind == admin.Weight {
		args = 2
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: usageArgs(cobra.ExactArgs(args)),
		RunE: func(cmd *cobra.Command, args []string) error {
			change := admin.Change{Kind: kind, Target: args[0]}
			if kind == admin.Weight {
				weight, err := strconv.ParseUint(args[1], 10, 32)
				if err != nil {
					return usageError(fmt.Errorf("weight %q: want a whole number, %d is usual", args[1], membership.DefaultWeight))
				}
				w := uint32(weight)
				change.Weight = &w
			}
			return planOrChange(cmd, f, change, plan, !noWait)
		},
	}
	if !plan {
		cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until everything has moved")
	}
	return cmd
}

func newAdminRemove(f *adminFlags, plan bool) *cobra.Command {
	noWait := plan
	change := admin.Change{Kind: admin.Remove}
	cmd := &cobra.Command{
		Use:   "remove NODE|DRIVE",
		Short: "Take a drained node or drive out of the cluster",
		Long: `Take a node or drive out of the cluster for ever. It must have been drained. --force-lost is for what is gone and never
comes back: its shards are rebuilt from the others, which the cluster begins by itself some minutes after the loss anyway.`,
		Example: `  kintsugi admin drain n3 && kintsugi admin remove n3
  kintsugi admin remove n3 --force-lost`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			change.Target = args[0]
			return planOrChange(cmd, f, change, plan, !noWait)
		},
	}
	cmd.Flags().BoolVar(&change.ForceLost, "force-lost", false, "it is gone for ever: do not ask for a drain")
	if !plan {
		cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until everything has moved")
	}
	return cmd
}

// planOrChange prints the plan, or makes the change and waits until it is complete.
func planOrChange(cmd *cobra.Command, f *adminFlags, change admin.Change, plan, wait bool) error {
	return f.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
		ask := c.Change
		if plan {
			ask = c.Plan
		}
		p, err := ask(ctx, change)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if err := f.print(out, p, func() error { return admin.WritePlan(out, p) }); err != nil || !wait {
			return err
		}
		_, err = admin.Wait(ctx, c, admin.GoalOf(p), cmd.ErrOrStderr(), isTerminal(cmd.ErrOrStderr()))
		return err
	})
}
