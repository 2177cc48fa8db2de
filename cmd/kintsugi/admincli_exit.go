package main

import (
	"errors"

	"github.com/spf13/cobra"

	"kintsugi/cmd/kintsugi/admin"
)

// Exit codes of the program, as `kintsugi admin --help` lists them.
const (
	exitError    = 1
	exitUsage    = 2
	exitDegraded = 3
	exitAtRisk   = 4
)

// exitStatus is an error that ends the program with a code of its own.
type exitStatus struct {
	code int
	err  error
}

func (e *exitStatus) Error() string { return e.err.Error() }
func (e *exitStatus) Unwrap() error { return e.err }

func exitWith(code int, err error) error { return &exitStatus{code, err} }

func usageError(err error) error { return exitWith(exitUsage, err) }

// exitCode is the code that a program ends with whose command returned err.
func exitCode(err error) int {
	var status *exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return status.code
	}
	return exitError
}

// usageArgs makes wrong arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError(err)
		}
		return nil
	}
}

// healthError ends the program with the code of a health that is not the best.
func healthError(h admin.Health, what string) error {
	switch h {
	case admin.Healthy:
		return nil
	case admin.Degraded:
		return exitWith(exitDegraded, errors.New(what+" is degraded"))
	case admin.AtRisk:
		return exitWith(exitAtRisk, errors.New(what+" is at risk"))
	}
	return exitWith(exitAtRisk, errors.New(what+" is unavailable in part"))
}
