package admin

import (
	"context"

	"kintsugi/meta"
)

// Names of consistencies.
const (
	Eventual     = "eventual"
	Linearizable = "linearizable"
)

func consistencyName(c meta.Consistency) string {
	if c == meta.Eventual {
		return Eventual
	}
	return Linearizable
}

// consistency tells or changes how reads of a bucket are answered. Any process can: the metadata decides.
func (s *Server) consistency(ctx context.Context, r ConsistencyRequest) (Consistency, error) {
	answer := Consistency{Format: Format, Bucket: r.Bucket, Consistency: r.Set}
	switch r.Set {
	case "":
		b, err := s.cfg.Meta.Bucket(ctx, r.Bucket, meta.Linearizable)
		if err != nil {
			return Consistency{}, objectError(err)
		}
		answer.Consistency = consistencyName(b.Consistency)
	case Eventual, Linearizable:
		c := meta.Linearizable
		if r.Set == Eventual {
			c = meta.Eventual
		}
		if err := s.cfg.Meta.SetConsistency(ctx, r.Bucket, c); err != nil {
			return Consistency{}, objectError(err)
		}
	default:
		return Consistency{}, refuse("consistency %q: want %s or %s", r.Set, Eventual, Linearizable)
	}
	return answer, nil
}
