package metatest

import (
	"context"
	"fmt"
	"testing"

	"kintsugi/meta"
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
		return meta.NewClient(forgetful{NewDirect(t, Groups)})
	})
}

// TestManyRequests has more of them than a group remembers: it must not mix them up.
func TestManyRequests(t *testing.T) {
	c := newClient(t, New, meta.VersioningEnabled)
	p := inline("many", "body")
	for i := range 6000 {
		p.Version.RequestID, p.Version.ETag = fmt.Sprint("r", i), fmt.Sprint(i)
		for range 2 {
			got, err := c.PutObject(t.Context(), p)
			must(t, err)
			if got.ETag != p.Version.ETag {
				t.Fatalf("request %d got the result of %s", i, got.ETag)
			}
		}
	}
}
