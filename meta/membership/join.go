package membership

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"strings"

	"kintsugi/internal/pace"
	"kintsugi/placement"
)

// JoinConfig is what Join needs.
type JoinConfig struct {
	Caller    Caller
	Directory *Directory
	// Keep makes a founding durable. Nobody is told of it before Keep returned.
	Keep   func(Founding) error
	Logger *slog.Logger // nil: discard
}

// Join returns the founding of the cluster that this process belongs to: the one that it has kept, one that
// another node tells of, or one that it makes itself. It waits for that until ctx ends. The process must answer
// Hello meanwhile (Handle), and the id of its metadata replica must be durable before that.
func Join(ctx context.Context, cfg JoinConfig) (Founding, error) {
	log := cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	if f, ok := cfg.Directory.Founding(); ok {
		return f, nil
	}
	var id placement.ClusterID
	rand.Read(id[:]) // never fails
	var waited, strange string
	for {
		answers, refused := greet(ctx, cfg.Caller, cfg.Directory, patience)
		verdict, err := Found(cfg.Directory.Hello(), answers, id)
		if err != nil {
			return Founding{}, err
		}
		if f := verdict.Founding; f != nil {
			if err := cfg.Keep(*f); err != nil {
				return Founding{}, err
			}
			cfg.Directory.SetFounding(*f)
			log.Info("belongs to a cluster", "cluster", f.Cluster.String(), "founded", verdict.New)
			return *f, nil
		}
		if all := strings.Join(refused, ", "); all != strange && all != "" {
			strange = all
			log.Error("nodes refuse this one as a stranger: is the cluster secret the same everywhere?", "refused", all)
		}
		if verdict.Wait != waited {
			waited = verdict.Wait
			log.Info("waits", "reason", waited)
		}
		if err := pace.Pause(ctx, helloPause); err != nil {
			return Founding{}, err
		}
	}
}
