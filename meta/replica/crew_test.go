package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
)

// mesh is a network in memory between members. It hides what Memory offers beside messages.
type mesh struct {
	raftgroup.Transport
	mu    sync.Mutex // guards ports
	ports map[uint64]*port
}

// port is where one member enters a mesh.
type port struct {
	*mesh
	answer func(context.Context, []byte) ([]byte, error)
}

func (p *port) Register(id uint64, host raftgroup.Receiver) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ports[id] = p
	return p.Transport.Register(id, host)
}

func (p *port) Unregister(id uint64) {
	p.mu.Lock()
	delete(p.ports, id)
	p.mu.Unlock()
	p.Transport.Unregister(id)
}

func (p *port) Answer(f func(context.Context, []byte) ([]byte, error)) { p.answer = f }

func (p *port) Ask(ctx context.Context, host uint64, q []byte) ([]byte, error) {
	p.mu.Lock()
	at := p.ports[host]
	p.mu.Unlock()
	if at == nil || at.answer == nil {
		return nil, raftgroup.ErrUnreachable
	}
	return at.answer(ctx, q)
}

// crew is the members of a cluster, and what they know of each other.
type crew struct {
	t    *testing.T
	net  *mesh
	dirs []string
	cfg  MemberConfig

	mu   sync.Mutex // guards the following
	all  []*Member  // nil: does not run
	gone map[int]bool
}

// Alive implements Peers.
func (c *crew) Alive() []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []uint64
	for i, m := range c.all {
		if m != nil && !c.gone[i] {
			ids = append(ids, m.ID())
		}
	}
	return ids
}

// newCrew founds a cluster of voters members and lets others join, which all want so many voters.
func newCrew(t *testing.T, groups, voters, others int) *crew {
	t.Helper()
	c := &crew{t: t, net: &mesh{Transport: raftgroup.NewMemory(), ports: map[uint64]*port{}}, gone: map[int]bool{}}
	c.cfg = MemberConfig{Groups: groups, Peers: c}
	ids := make([]uint64, voters)
	for i := range ids {
		ids[i] = NewHostID()
	}
	for i := range voters + others {
		c.dirs = append(c.dirs, t.TempDir())
		c.mu.Lock()
		c.all = append(c.all, nil)
		c.mu.Unlock()
		if i < voters {
			m, err := Found(c.config(), Drive{Dir: c.dirs[i]}, ids[i], ids)
			c.add(i, m, err)
		} else {
			c.open(i)
		}
	}
	t.Cleanup(func() {
		for i := range c.dirs {
			c.close(i)
		}
	})
	for _, m := range c.all {
		m.SetWant(voters)
	}
	return c
}

func (c *crew) config() MemberConfig {
	cfg := c.cfg
	cfg.Transport = &port{mesh: c.net}
	return cfg
}

func (c *crew) add(i int, m *Member, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[i] = m
}

func (c *crew) open(i int) {
	c.t.Helper()
	m, err := OpenMember(c.config(), Drive{Dir: c.dirs[i]})
	c.add(i, m, err)
}

func (c *crew) close(i int) {
	c.mu.Lock()
	m := c.all[i]
	c.all[i] = nil
	c.mu.Unlock()
	if m != nil {
		if err := m.Close(); err != nil {
			c.t.Errorf("close member %d: %v", i, err)
		}
	}
}

// running returns the members that run.
func (c *crew) running() []*Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.all), func(m *Member) bool { return m == nil })
}

// Groups, Propose and Query make a crew a meta.Consensus.
func (c *crew) Groups() int { return c.cfg.Groups }

func (c *crew) Propose(ctx context.Context, group int, cmd []byte) (any, error) {
	return c.onLeader(ctx, func(ctx context.Context, m *Member) (any, error) { return m.Propose(ctx, group, cmd) })
}

func (c *crew) Query(ctx context.Context, group int, q any, level meta.Consistency) (any, error) {
	return c.onLeader(ctx, func(ctx context.Context, m *Member) (any, error) { return m.Query(ctx, group, q, level) })
}

func (c *crew) onLeader(ctx context.Context, call func(context.Context, *Member) (any, error)) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		for _, m := range c.running() {
			result, err := call(ctx, m)
			if !isOfReplica(err) {
				return result, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, meta.ErrUnavailable
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (c *crew) eventually(what string, f func() error) {
	c.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: %v", what, err)
		}
	}
}

// voters waits until every group has exactly the members with those numbers as voters.
func (c *crew) voters(members ...int) {
	c.t.Helper()
	c.eventually(fmt.Sprint("voters ", members), func() error {
		var want []uint64
		for _, i := range members {
			want = append(want, c.all[i].ID())
		}
		slices.Sort(want)
		for _, m := range c.running() {
			for _, s := range m.Status(c.t.Context()) {
				if got := slices.Sorted(slices.Values(s.Voters)); s.Leader == m.ID() && (!slices.Equal(got, want) || len(s.Learners) > 0) {
					return fmt.Errorf("group %d has voters %v and learners %v, want %v", s.Group, got, s.Learners, want)
				}
			}
		}
		return nil
	})
}

func (c *crew) fill(n int) *meta.Client {
	c.t.Helper()
	client := meta.NewClient(c)
	err := client.CreateBucket(c.t.Context(), meta.Bucket{Name: "bucket"})
	if err != nil && !errors.Is(err, meta.ErrBucketExists) {
		c.t.Fatal(err)
	}
	for i := range n {
		put(c.t, client, fmt.Sprint("key", i))
	}
	return client
}

func put(t *testing.T, client *meta.Client, key string) {
	t.Helper()
	v := meta.Version{ETag: "d41d8cd98f00b204e9800998ecf8427e", Checksum: meta.Checksum{Algorithm: meta.CRC64NVME, Value: make([]byte, 8)}}
	if _, err := client.PutObject(t.Context(), meta.PutObject{Bucket: "bucket", Key: key, Version: v}); err != nil {
		t.Fatal(err)
	}
}
