package metarpc

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/meta"
	"kintsugi/meta/metatest"
	"kintsugi/meta/raftgroup"
)

// TestSuiteWithoutANetwork runs the suite from a process that has the leader, one that has another replica and one that has none.
func TestSuiteWithoutANetwork(t *testing.T) {
	for name, self := range map[string]uint64{"leader": 1, "follower": 2, "no replica": 0} {
		t.Run(name, func(t *testing.T) {
			metatest.Run(t, func(t testing.TB) *meta.Client { return meta.NewClient(newFakeCluster(t).client(t, self)) })
		})
	}
}

const bucket = "bucket"

// inBubble runs a test in virtual time on a cluster that has the bucket.
func inBubble(t *testing.T, self uint64, test func(*testing.T, *fakeCluster, *meta.Client)) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t)
		client := meta.NewClient(c.client(t, self))
		must(t, client.CreateBucket(t.Context(), meta.Bucket{Name: bucket}))
		test(t, c, client)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inline(key, body string) meta.PutObject {
	return meta.PutObject{
		Bucket: bucket, Key: key, Body: []byte(body), Version: meta.Version{Size: int64(len(body)), ETag: "etag"},
	}
}

func mustPut(t *testing.T, client *meta.Client, key string) {
	t.Helper()
	_, err := client.PutObject(t.Context(), inline(key, "body"))
	must(t, err)
}

// within runs f and checks how long it took.
func within(t *testing.T, atMost time.Duration, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > atMost {
		t.Errorf("it took %v, want at most %v", took, atMost)
	}
}

// A command that was executed and whose answer was lost sees its own success, also under a condition.
func TestLostAnswers(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, c *fakeCluster, client *meta.Client) {
		for n := 1; n <= 3; n++ {
			key := string(rune('a' + n))
			c.change(func() { c.hosts[1].dropping = n })
			put := inline(key, "body")
			put.Condition.IfNoneMatch = true
			done, err := client.PutObject(t.Context(), put)
			if err != nil || done.ETag != "etag" {
				t.Fatalf("%d answers lost: %+v, %v", n, done, err)
			}
			if _, err := client.PutObject(t.Context(), put); !errors.Is(err, meta.ErrPrecondition) {
				t.Errorf("another request: %v", err)
			}
			c.change(func() { c.hosts[1].dropping = n })
			etag := meta.Condition{IfMatch: "etag"}
			if _, err := client.DeleteObject(t.Context(), meta.DeleteObject{Bucket: bucket, Key: key, Condition: etag}); err != nil {
				t.Errorf("delete, %d answers lost: %v", n, err)
			}
		}
	})
}

// The refusal of a command says whether an earlier sending of it may be executed still: its blobs are needed then.
func TestRefusalAfterALostAnswer(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, c *fakeCluster, client *meta.Client) {
		mustPut(t, client, "key")
		put := inline("key", "body")
		put.Condition.IfNoneMatch = true
		if _, err := client.PutObject(t.Context(), put); !errors.Is(err, meta.ErrPrecondition) || errors.Is(err, meta.ErrUncertain) {
			t.Errorf("sent once: %v", err)
		}
		c.change(func() { c.leader, c.hosts[1].hint = 2, 2 })
		if _, err := client.PutObject(t.Context(), put); !errors.Is(err, meta.ErrPrecondition) || errors.Is(err, meta.ErrUncertain) {
			t.Errorf("sent to one who did not lead first: %v", err)
		}
		c.change(func() { c.hosts[2].dropping = 1 })
		if _, err := client.PutObject(t.Context(), put); !errors.Is(err, meta.ErrPrecondition) || !errors.Is(err, meta.ErrUncertain) {
			t.Errorf("sent twice: %v", err)
		}
	})
}

// A leader that is stopped takes calls and says nothing. The call goes on elsewhere in time, and those after it at once.
func TestStoppedLeader(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, c *fakeCluster, client *meta.Client) {
		mustPut(t, client, "before")
		c.change(func() { c.hosts[1].stopped = true })
		elected := time.AfterFunc(time.Second, func() { c.change(func() { c.leader = 2 }) })
		defer elected.Stop()
		within(t, 1100*time.Millisecond, func() { mustPut(t, client, "key") })
		asked := c.askedOf(1)
		within(t, maxPause, func() {
			for range 100 {
				mustPut(t, client, "key")
			}
		})
		if n := c.askedOf(1) - asked; n > 0 {
			t.Errorf("the stopped one was asked %d times more", n)
		}
		c.change(func() { c.hosts[1].stopped = false })
		time.Sleep(2 * silentSuspicion)
		mustPut(t, client, "key")
	})
}

// A leader that is merely slow once is found again.
func TestSlowLeader(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, c *fakeCluster, client *meta.Client) {
		mustPut(t, client, "before")
		c.change(func() { c.hosts[1].stopped = true })
		back := time.AfterFunc(750*time.Millisecond, func() { c.change(func() { c.hosts[1].stopped = false }) })
		defer back.Stop()
		within(t, 2*time.Second, func() { mustPut(t, client, "key") })
	})
}

// A leader whose process is gone refuses connections: nothing is waited for but the election.
func TestDeadLeader(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, c *fakeCluster, client *meta.Client) {
		mustPut(t, client, "before")
		c.change(func() { c.hosts[1].dead = true; c.leader = 2 })
		within(t, 5*time.Millisecond, func() { mustPut(t, client, "key") })
		c.change(func() { c.hosts[2].dead = true; c.leader = 0 })
		elected := time.AfterFunc(300*time.Millisecond, func() { c.change(func() { c.leader = 3 }) })
		defer elected.Stop()
		within(t, 400*time.Millisecond, func() { mustPut(t, client, "key") })
	})
}

// Without a quorum the answer is that there is none, soon enough for the client of the gateway.
func TestNoQuorum(t *testing.T) {
	for name, lose := range map[string]func(*fakeCluster){
		"no leader": func(c *fakeCluster) { c.leader = 0 },
		"all dead": func(c *fakeCluster) {
			for _, h := range c.hosts {
				h.dead = true
			}
		},
		"all stopped": func(c *fakeCluster) {
			for _, h := range c.hosts {
				h.stopped = true
			}
		},
		"nobody known": func(c *fakeCluster) { clear(c.hosts) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 0, func(t *testing.T, c *fakeCluster, client *meta.Client) {
				mustPut(t, client, "key")
				c.change(func() { lose(c) })
				within(t, 4600*time.Millisecond, func() {
					if _, err := client.PutObject(t.Context(), inline("key", "body")); !errors.Is(err, meta.ErrUnavailable) {
						t.Errorf("put: %v", err)
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				within(t, 1100*time.Millisecond, func() {
					if _, err := client.Object(ctx, meta.GetObject{Bucket: bucket, Key: "key"}); !errors.Is(err, meta.ErrUnavailable) {
						t.Errorf("get: %v", err)
					}
				})
			})
		})
	}
}

// Hints are followed, but not in circles.
func TestHints(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, c *fakeCluster, client *meta.Client) {
		mustPut(t, client, "key")
		asked := c.askedOf(3)
		for range 10 {
			mustPut(t, client, "key")
		}
		if n := c.askedOf(3) - asked; n > 0 {
			t.Errorf("another than the leader was asked %d times", n)
		}
		c.change(func() { c.leader = 3; c.hosts[1].hint = 2; c.hosts[2].hint = 1 })
		within(t, 200*time.Millisecond, func() { mustPut(t, client, "key") })
	})
}

// A leader that is busy, or fails, is asked again or given up.
func TestFailingReplica(t *testing.T) {
	for name, err := range map[string]error{
		"busy": raftgroup.ErrBusy, "lost": raftgroup.ErrLost, "stopped": raftgroup.ErrStopped, "corrupt": meta.ErrCorrupt,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(t *testing.T, c *fakeCluster, client *meta.Client) {
				c.change(func() { c.hosts[1].fails = err })
				mended := time.AfterFunc(100*time.Millisecond, func() { c.change(func() { c.hosts[1].fails = nil }) })
				defer mended.Stop()
				within(t, 200*time.Millisecond, func() { mustPut(t, client, "key") })
			})
		})
	}
}

// What a command does wrong is its answer at once.
func TestFinalErrors(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, c *fakeCluster, client *meta.Client) {
		mustPut(t, client, "key")
		before := c.askedOf(1)
		put := inline("key", "body")
		put.Condition.IfMatch = "another"
		if _, err := client.PutObject(t.Context(), put); !errors.Is(err, meta.ErrPrecondition) {
			t.Errorf("put: %v", err)
		}
		if _, err := client.Object(t.Context(), meta.GetObject{Bucket: bucket, Key: "none"}); !errors.Is(err, meta.ErrNoSuchKey) {
			t.Errorf("get: %v", err)
		}
		if n := c.askedOf(1) - before; n > 3 {
			t.Errorf("the leader was asked %d times", n)
		}
	})
}

// Eventual reads need no leader: the replica of this process answers, else another one, at once.
func TestEventual(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, c *fakeCluster, client *meta.Client) {
		mustPut(t, client, "key")
		get := meta.GetObject{Bucket: bucket, Key: "key", Body: true, Consistency: meta.Eventual}
		read := func() {
			t.Helper()
			if v, err := client.Object(t.Context(), get); err != nil || string(v.Body) != "body" {
				t.Errorf("got %q, %v", v.Body, err)
			}
		}
		c.change(func() { c.leader = 0 })
		asked := c.askedOf(2)
		within(t, 0, read)
		if n := c.askedOf(2) - asked; n != 1 {
			t.Errorf("the local replica was asked %d times", n)
		}
		c.change(func() { c.hosts[2].stopped = true })
		within(t, replicaTimeout, read)
		within(t, 0, read)
		c.change(func() { c.hosts[1].dead = true })
		within(t, 0, read)
		c.change(func() { c.hosts[2].stopped, c.hosts[3].stopped = false, true })
		within(t, 2*replicaTimeout, read)
	})
}

// Where no replica knows a leader the answers are of those that lost touch, at once.
func TestEventualWithoutQuorum(t *testing.T) {
	for name, self := range map[string]uint64{"with a replica": 2, "without": 0} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, self, func(t *testing.T, c *fakeCluster, client *meta.Client) {
				mustPut(t, client, "key")
				get := meta.GetObject{Bucket: bucket, Key: "key", Consistency: meta.Eventual}
				read := func() {
					if _, err := client.Object(t.Context(), get); err != nil {
						t.Error(err)
					}
				}
				c.change(func() { c.hosts[1].lost, c.hosts[2].lost = true, true })
				within(t, 0, read) // the third one knows
				c.change(func() { c.hosts[3].lost = true })
				within(t, 0, read)
				c.change(func() { c.hosts[3].stopped = true })
				within(t, replicaTimeout, read)
			})
		})
	}
}

// A replica that is new knows no bucket; an eventual read asks another one before it denies it.
func TestEventualOfANewReplica(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, c *fakeCluster, client *meta.Client) {
		mustPut(t, client, "key")
		c.change(func() { c.hosts[2].fails = meta.ErrNoSuchBucket })
		if _, err := client.Object(t.Context(), meta.GetObject{Bucket: bucket, Key: "key", Consistency: meta.Eventual}); err != nil {
			t.Error(err)
		}
		get := meta.GetObject{Bucket: "none", Key: "key", Consistency: meta.Eventual}
		within(t, 10*time.Millisecond, func() {
			if _, err := client.Object(t.Context(), get); !errors.Is(err, meta.ErrNoSuchBucket) {
				t.Errorf("a bucket that is not there: %v", err)
			}
		})
	})
}

// Eventual reads go where the answers come from soonest.
func TestEventualPrefersTheNearest(t *testing.T) {
	c := &Client{health: health{hosts: map[uint64]*hostHealth{}}}
	h := &c.health
	h.answered(1, 9*time.Millisecond)
	h.answered(2, 2*time.Millisecond)
	h.answered(3, time.Millisecond)
	now := time.Now()
	h.suspect(3, now.Add(time.Second))
	s := search{client: c, request: &request{kind: eventualRead}}
	for _, want := range []uint64{2, 1, 3} {
		got, ok := s.nearest([]uint64{1, 2, 3}, 0, now)
		if !ok || got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
		s.asked = append(s.asked, got)
	}
}

// Many callers share what one of them learns.
func TestManyCallers(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, c *fakeCluster, client *meta.Client) {
		c.change(func() { c.latency = time.Millisecond })
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 50 {
					if _, err := client.PutObject(t.Context(), inline("key", "body")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for i := range 10 {
			time.Sleep(5 * time.Millisecond)
			c.change(func() { c.leader = uint64(i%fakeHosts) + 1 })
		}
		wg.Wait()
	})
}
