package membership

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
)

// peer is a process on loopback that answers hellos and, with a coordinator, beats.
type peer struct {
	dir    *Directory
	client *rpc.Client
	kept   *Founding
	mu     sync.Mutex // guards kept
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newPeer serves on l. host 0 is a process without metadata.
func newPeer(t *testing.T, s *secret.Secret, l net.Listener, name string, host uint64, seeds []string, coordinate func(*Directory) *Coordinator) *peer {
	t.Helper()
	roles := rpc.Storage
	if host != 0 {
		roles |= rpc.Meta
	}
	cfg := rpc.Config{Self: rpc.Identity{Node: name, Roles: roles, Incarnation: host + 1000}, Secret: s}
	client, err := rpc.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server, err := rpc.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{client: client}
	p.dir = NewDirectory(Hello{
		Node:  Node{Name: name, Incarnation: host + 1000, Addr: l.Addr().String(), Roles: roles, Host: host},
		Seeds: seeds,
	}, nil)
	var c *Coordinator
	if coordinate != nil {
		c = coordinate(p.dir)
	}
	Handle(server, p.dir, c)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // ends with Close
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		serving.Wait()
	})
	return p
}

func (p *peer) join(ctx context.Context) (Founding, error) {
	return Join(ctx, JoinConfig{Caller: p.client, Directory: p.dir, Keep: func(f Founding) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.kept = &f
		return nil
	}})
}

func TestJoin(t *testing.T) {
	s, err := secret.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	listeners := []net.Listener{listen(t), listen(t), listen(t), listen(t)}
	var seeds []string
	for _, l := range listeners[:3] {
		seeds = append(seeds, l.Addr().String())
	}
	var peers []*peer
	for i, l := range listeners {
		peers = append(peers, newPeer(t, s, l, "node"+string(rune('0'+i)), []uint64{11, 12, 13, 0}[i], seeds, nil))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	found := make([]Founding, len(peers))
	var joining sync.WaitGroup
	for i, p := range peers {
		joining.Go(func() {
			f, err := p.join(ctx)
			if err != nil {
				t.Error(err)
			}
			found[i] = f
		})
	}
	joining.Wait()
	for i, f := range found {
		if f.Cluster != found[0].Cluster || !slices.Equal(f.Voters, found[0].Voters) || len(f.Voters) != 3 {
			t.Errorf("node %d: %+v, node 0: %+v", i, f, found[0])
		}
		peers[i].mu.Lock()
		if peers[i].kept == nil || peers[i].kept.Cluster != f.Cluster {
			t.Errorf("node %d kept %+v", i, peers[i].kept)
		}
		peers[i].mu.Unlock()
	}
	again, err := peers[1].join(ctx)
	if err != nil || again.Cluster != found[0].Cluster {
		t.Errorf("joining again: %+v, %v", again, err)
	}
}

func TestJoinKeepsBeforeItTells(t *testing.T) {
	s, err := secret.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	p := newPeer(t, s, l, "m1", 1, []string{l.Addr().String()}, nil)
	broken := errors.New("disk is full")
	_, err = Join(t.Context(), JoinConfig{Caller: p.client, Directory: p.dir, Keep: func(Founding) error {
		if _, told := p.dir.Founding(); told {
			t.Error("it was told before it was kept")
		}
		return broken
	}})
	if _, told := p.dir.Founding(); !errors.Is(err, broken) || told {
		t.Errorf("%v, told: %v", err, told)
	}
}

// TestBeatOverTheNetwork lets an agent follow a coordinator of another process, and refuses a beat in another's name.
func TestBeatOverTheNetwork(t *testing.T) {
	s, err := secret.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	g := &group{leader: 1}
	lm, ln := listen(t), listen(t)
	seeds := []string{lm.Addr().String()}
	var coordinator *Coordinator
	newPeer(t, s, lm, "m1", 1, seeds, func(d *Directory) *Coordinator {
		f := sampleFounding()
		f.K, f.M = 1, 0
		d.SetFounding(f)
		coordinator, err = NewCoordinator(CoordinatorConfig{
			Directory: d, Maps: g, Leads: func() bool { return true }, Leader: func() uint64 { return 1 },
			Confirm: func(context.Context) error { return nil }, FirstQuiet: 50 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		return coordinator
	})
	n := newPeer(t, s, ln, "n1", 0, seeds, nil)
	answers := make(chan Answer, 100)
	agent := NewAgent(AgentConfig{
		Caller: n.client, Directory: n.dir,
		Report: func() Beat { return Beat{Drives: []DriveReport{{ID: driveID(1)}}} },
		Apply:  func(a Answer, _ time.Time) { answers <- a },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { coordinator.Run(ctx) })
	running.Go(func() { agent.Run(ctx) })
	deadline := time.After(20 * time.Second)
	for mapped := false; !mapped; {
		select {
		case a := <-answers:
			mapped = a.Map != nil && a.Lease > 0 && a.Founding.Cluster == sampleFounding().Cluster
		case <-deadline:
			t.Fatal("no map came")
		}
	}
	if _, ok := n.dir.Founding(); !ok {
		t.Error("a storage node does not know its cluster")
	}
	foreign := beatOf("n2")
	_, err = n.client.Do(t.Context(), seeds[0], &rpc.Call{Method: MethodBeat, Head: encode(foreign)})
	var refusal *rpc.StatusError
	if !errors.As(err, &refusal) || refusal.Code != codeFormat {
		t.Errorf("a beat in another's name: %v", err)
	}
	cancel()
	running.Wait()
}
