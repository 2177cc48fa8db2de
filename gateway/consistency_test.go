package gateway

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/meta"
	"kintsugi/meta/metatest"
)

// spyGroups notes how fresh the answers to queries were to be.
type spyGroups struct {
	*metatest.Direct

	mu         sync.Mutex // guards all below
	leaderless bool       // only eventual reads are answered
	asked      []meta.Consistency
	behind     *meta.Version // what eventual reads of an object find
}

func (g *spyGroups) Query(ctx context.Context, group int, q any, c meta.Consistency) (any, error) {
	g.mu.Lock()
	leaderless, behind := g.leaderless, g.behind
	g.asked = append(g.asked, c)
	g.mu.Unlock()
	if leaderless && c == meta.Linearizable {
		return nil, meta.ErrUnavailable
	}
	if _, get := q.(meta.GetObject); get && behind != nil && c == meta.Eventual {
		return *behind, nil
	}
	return g.Direct.Query(ctx, group, q, c)
}

func (g *spyGroups) lead(is bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaderless = !is
}

// wantAsked checks that all queries since the last call were of one consistency.
func (g *spyGroups) wantAsked(t *testing.T, want meta.Consistency) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.asked) == 0 {
		t.Error("nothing was asked")
	}
	for _, c := range g.asked {
		if c != want {
			t.Errorf("asked for consistency %d, want %d", c, want)
		}
	}
	g.asked = nil
}

func (g *spyGroups) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = nil
}

func newSpied(t *testing.T) (*testServer, *spyGroups) {
	t.Helper()
	g := &spyGroups{Direct: metatest.NewDirect(t, metatest.Groups)}
	return newTestServer(t, func(c *Config) { c.Meta = meta.NewClient(g) }), g
}

// reads are the requests that may choose.
var reads = []struct{ method, target string }{
	{get, "/bucket/key"}, {head, "/bucket/key"}, {get, "/bucket"}, {get, "/bucket?list-type=2"}, {get, "/bucket?versions"}, {get, "/bucket?uploads"},
}

func TestConsistencyByHeader(t *testing.T) {
	s, g := newSpied(t)
	s.put("/bucket", "").want(200, "")
	s.put("/bucket/key", "body").want(200, "")
	for _, r := range reads {
		t.Run(r.method+" "+r.target, func(t *testing.T) {
			g.forget()
			s.do(r.method, r.target, "").want(200, "")
			g.wantAsked(t, meta.Linearizable)
			s.do(r.method, r.target, "", consistencyHeader, "linearizable").want(200, "")
			g.wantAsked(t, meta.Linearizable)
			s.do(r.method, r.target, "", consistencyHeader, "eventual").want(200, "")
			g.wantAsked(t, meta.Eventual)
			for _, bad := range []string{"", "Eventual", "eventual,linearizable", "strong"} {
				code := "InvalidArgument"
				if r.method == head {
					code = ""
				}
				s.do(r.method, r.target, "", consistencyHeader, bad).want(400, code)
			}
		})
	}
	s.do(put, "/another", "", consistencyHeader, "strong").want(400, "InvalidArgument")
}

func TestConsistencyByBucket(t *testing.T) {
	s, g := newSpied(t)
	s.put("/bucket", "", consistencyHeader, "eventual").want(200, "")
	s.head("/bucket").want(200, "").wantHeader(consistencyHeader, "eventual")
	s.put("/bucket/key", "body").want(200, "")
	s.get("/bucket/key").want(200, "") // learns it
	for _, r := range reads {
		t.Run(r.method+" "+r.target, func(t *testing.T) {
			g.forget()
			s.do(r.method, r.target, "").want(200, "")
			g.wantAsked(t, meta.Eventual)
			s.do(r.method, r.target, "", consistencyHeader, "linearizable").want(200, "")
			g.wantAsked(t, meta.Linearizable)
			g.lead(false)
			defer g.lead(true)
			s.do(r.method, r.target, "").want(200, "")
			if r.method != head {
				s.do(r.method, r.target, "", consistencyHeader, "linearizable").want(503, "ServiceUnavailable")
			}
		})
	}
	if err := s.config.Meta.SetConsistency(t.Context(), "bucket", meta.Linearizable); err != nil {
		t.Fatal(err)
	}
	s.get("/bucket/key").want(200, "") // hears of it
	g.forget()
	s.get("/bucket/key").want(200, "")
	g.wantAsked(t, meta.Linearizable)
	s.head("/bucket").want(200, "").wantHeader(consistencyHeader, "")
}

// What was heard long ago is asked for anew, but holds while nobody can be asked.
func TestStaleBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s staleBuckets
		want := func(c meta.Consistency, sure bool) {
			t.Helper()
			if got, is := s.of("bucket", time.Now()); got != c || is != sure {
				t.Errorf("got %d, sure %v, want %d, %v", got, is, c, sure)
			}
		}
		want(meta.Linearizable, true)
		s.learn("bucket", meta.Eventual, time.Now())
		want(meta.Eventual, true)
		for range 10 {
			time.Sleep(staleTrust / 2)
			s.learn("bucket", meta.Eventual, time.Now())
			want(meta.Eventual, true)
		}
		time.Sleep(staleTrust)
		want(meta.Eventual, false)
		s.learn("bucket", meta.Linearizable, time.Now())
		want(meta.Linearizable, true)
		for i := range maxStaleBuckets + 10 {
			s.learn(string(rune('a'+i)), meta.Eventual, time.Now())
		}
		if len(s.heard) > maxStaleBuckets {
			t.Errorf("%d buckets are remembered", len(s.heard))
		}
	})
}

// A stale answer may name blobs that are gone; the truth is then asked for.
func TestStaleAnswerIsNotTheLastWord(t *testing.T) {
	s, g := newSpied(t)
	s.put("/bucket", "").want(200, "")
	s.put("/bucket/key", pattern(100_000)).want(200, "")
	v, err := s.config.Meta.Object(t.Context(), meta.GetObject{Bucket: "bucket", Key: "key"})
	if err != nil {
		t.Fatal(err)
	}
	v.Blobs[0].ID[15]++ // nobody has the shards of this one
	g.mu.Lock()
	g.behind = &v
	g.mu.Unlock()
	s.get("/bucket/key", consistencyHeader, "eventual").want(200, "").wantBody(pattern(100_000))
}
