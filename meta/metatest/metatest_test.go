package metatest

import (
	"context"
	"testing"

	"kintsugi/meta"
	"kintsugi/meta/state"
)

func TestDirect(t *testing.T) { Run(t, New) }

// forgetful executes every command twice: the answer to the first was lost.
type forgetful struct{ *Direct }

func (f forgetful) Propose(ctx context.Context, group int, cmd []byte) (any, error) {
	_, _ = f.Direct.Propose(ctx, group, cmd)
	return f.Direct.Propose(ctx, group, cmd)
}

// TestEveryCommandMayBeRepeated: whoever does not hear the answer sends a command again, and must see its own success.
func TestEveryCommandMayBeRepeated(t *testing.T) {
	Run(t, func(t testing.TB) *meta.Client {
		machine, err := state.Open(t.TempDir(), state.Config{})
		must(t, err)
		t.Cleanup(func() { must(t, machine.Close()) })
		return meta.NewClient(forgetful{NewDirect(machine, Groups)})
	})
}
