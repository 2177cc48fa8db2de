package raftgroup

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// askerFunc is a TermAsker.
type askerFunc func(ctx context.Context, peer uint64) ([]uint64, error)

func (f askerFunc) AskTerms(ctx context.Context, peer uint64) ([]uint64, error) { return f(ctx, peer) }

func testRounds(f askerFunc) *termRounds {
	return &termRounds{asker: f, peers: map[uint64]*termPeer{}}
}

func testLeader(id uint64, term uint64) *group {
	g := &group{id: 1, host: &Host{cfg: Config{ID: id}}}
	g.term.Store(term)
	return g
}

func TestConfirmTerm(t *testing.T) {
	silent := func(ctx context.Context) ([]uint64, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, c := range []struct {
		name   string
		voters []uint64
		own    uint64 // the leader's own newest term; it leads at 5
		peers  map[uint64]uint64
		want   termOutcome
	}{
		{"alone", []uint64{1}, 5, nil, termStands},
		{"alone, and it has voted since", []uint64{1}, 6, nil, termPast},
		{"one of two others", []uint64{1, 2, 3}, 5, map[uint64]uint64{2: 5}, termStands},
		{"the other one", []uint64{1, 2, 3}, 5, map[uint64]uint64{3: 4}, termStands},
		{"nobody", []uint64{1, 2, 3}, 5, nil, termUnknown},
		{"one has voted since", []uint64{1, 2, 3}, 5, map[uint64]uint64{2: 6}, termPast},
		{"two of four others", []uint64{1, 2, 3, 4, 5}, 5, map[uint64]uint64{3: 5, 5: 5}, termStands},
		{"one of four others", []uint64{1, 2, 3, 4, 5}, 5, map[uint64]uint64{3: 5}, termUnknown},
		{"not a voter itself", []uint64{2, 3, 4}, 5, map[uint64]uint64{2: 5}, termUnknown},
		{"not a voter, but two are", []uint64{2, 3, 4}, 5, map[uint64]uint64{2: 5, 4: 5}, termStands},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := testRounds(func(ctx context.Context, peer uint64) ([]uint64, error) {
					if term, ok := c.peers[peer]; ok {
						return []uint64{0, term}, nil
					}
					return silent(ctx)
				})
				got := r.confirmTerm(t.Context(), testLeader(1, c.own), &tenure{term: 5, voters: c.voters})
				if got != c.want {
					t.Errorf("outcome %d, want %d", got, c.want)
				}
				time.Sleep(2 * termTimeout) // in virtual time: questions that nobody waits for end by themselves
			})
		})
	}
}

// Whoever comes while a question is under way must not be told by its answer: that may be older than the read.
func TestTermsOfLaterReadsAreAskedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		r := testRounds(func(_ context.Context, _ uint64) ([]uint64, error) {
			n := asked.Add(1)
			time.Sleep(5 * time.Millisecond)
			if n == 1 {
				return []uint64{0, 5}, nil
			}
			return []uint64{0, 6}, nil
		})
		g, lead := testLeader(1, 5), &tenure{term: 5, voters: []uint64{1, 2, 3}}
		first := make(chan termOutcome, 1)
		go func() { first <- r.confirmTerm(t.Context(), g, lead) }()
		synctest.Wait()
		const readers = 5
		later := make(chan termOutcome, readers)
		for range readers {
			go func() { later <- r.confirmTerm(t.Context(), g, lead) }()
		}
		if got := <-first; got != termStands {
			t.Errorf("first: %d", got)
		}
		for range readers {
			if got := <-later; got != termPast {
				t.Errorf("later: %d", got)
			}
		}
		if n := asked.Load(); n != 2 {
			t.Errorf("%d questions for %d reads, want 2", n, readers+1)
		}
	})
}

func TestTermsOfADeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRounds(func(_ context.Context, peer uint64) ([]uint64, error) {
			if peer == 2 {
				return nil, errors.New("gone")
			}
			return []uint64{0, 5}, nil
		})
		began := time.Now()
		got := r.confirmTerm(t.Context(), testLeader(1, 5), &tenure{term: 5, voters: []uint64{1, 2, 3}})
		if got != termStands || time.Since(began) > termHedge {
			t.Errorf("outcome %d after %v", got, time.Since(began))
		}
		if first := r.order([]uint64{2, 3})[0].id; first != 3 {
			t.Errorf("peer %d is asked first from now on", first)
		}
	})
}

// Of five voters two are asked, and in the place of who is dead or slow another one, from the next read on at once.
func TestTermsAreAskedOfFew(t *testing.T) {
	for _, c := range []struct {
		name string
		ill  func() error // what peer 3 does
		wait time.Duration
	}{
		{"all well", nil, 0},
		{"one dead", func() error { return errors.New("gone") }, 0},
		{"one slow", func() error { time.Sleep(3 * termHedge); return nil }, termHedge},
		{"one a little slower", func() error { time.Sleep(termHedge / 2); return nil }, termHedge / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := make([]atomic.Int64, 6)
				r := testRounds(func(_ context.Context, peer uint64) ([]uint64, error) {
					asked[peer].Add(1)
					if peer == 3 && c.ill != nil {
						if err := c.ill(); err != nil {
							return nil, err
						}
					}
					return []uint64{0, 5}, nil
				})
				const reads = 10
				for read := range reads {
					began := time.Now()
					got := r.confirmTerm(t.Context(), testLeader(2, 5), &tenure{term: 5, voters: []uint64{1, 2, 3, 4, 5}})
					if got != termStands {
						t.Errorf("read %d: outcome %d", read, got)
					}
					if took := time.Since(began); took > 0 && (read > 0 || took != c.wait) {
						t.Errorf("read %d took %v", read, took)
					}
				}
				time.Sleep(time.Second) // in virtual time: the slow one answers
				total := int64(0)
				for peer := range asked {
					total += asked[peer].Load()
				}
				extra := int64(0)
				if c.ill != nil {
					extra = 4 // the first read asks everybody
				}
				if total > 2*reads+extra || asked[3].Load() > 2 && c.ill != nil {
					t.Errorf("%d questions, of which the ill one got %d", total, asked[3].Load())
				}
			})
		})
	}
}
