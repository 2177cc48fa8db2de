package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeebo/xxh3"

	"kintsugi/meta"
	"kintsugi/meta/state/lsm"
)

// A dead voter is replaced by a spare; when it comes back it is the spare.
func TestMemberReplacesDeadVoter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 3, 3, 1)
		c.fill(20)
		c.voters(0, 1, 2)
		c.close(1)
		start := time.Now()
		put(t, meta.NewClient(c), "while one is away")
		if d := time.Since(start); d > 1500*time.Millisecond {
			t.Errorf("%v until writes went on", d)
		}
		c.voters(0, 2, 3)
		if d := time.Since(start); d < defaultAbandonAfter || d > 2*defaultAbandonAfter {
			t.Errorf("replaced after %v", d)
		}
		c.open(1)
		c.all[1].SetWant(3)
		c.voters(0, 2, 3)
		c.close(0) // now the one that came back is needed, and has its log
		c.voters(1, 2, 3)
		put(t, meta.NewClient(c), "after all")
	})
}

// More voters are wanted, then fewer.
func TestMemberWant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2, 1, 4)
		c.fill(5)
		for _, m := range c.all {
			m.SetWant(5)
		}
		c.voters(0, 1, 2, 3, 4)
		for _, m := range c.all {
			m.SetWant(3)
		}
		c.eventually("three voters", func() error {
			for _, m := range c.all {
				for _, s := range m.Status(t.Context()) {
					if s.Leader == m.ID() && len(s.Voters) != 3 {
						return fmt.Errorf("%v", s.Voters)
					}
				}
			}
			return nil
		})
		put(t, meta.NewClient(c), "after all")
	})
}

// Groups are spread over the voters, and a host that is drained gives up what it leads.
func TestMemberBalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 6, 3, 0)
		c.fill(5)
		balanced := func(want ...int) func() error {
			return func() error {
				var got []int
				for _, m := range c.running() {
					got = append(got, len(m.Leads()))
				}
				if !slices.Equal(got, want) {
					return fmt.Errorf("leaders: %v, want %v", got, want)
				}
				return nil
			}
		}
		c.eventually("balance", balanced(2, 2, 2))
		c.mu.Lock()
		c.gone[1] = true
		c.mu.Unlock()
		c.eventually("balance without one", balanced(3, 0, 3))
	})
}

// An eventual read is answered by any host with a state, and by none without.
func TestMemberEventualQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1, 3, 1)
		c.fill(3)
		time.Sleep(time.Second)
		for i, m := range c.all {
			_, err := m.Query(t.Context(), 0, meta.BucketQuery{Name: "bucket"}, meta.Eventual)
			if i < 3 && err != nil || i == 3 && !isOfReplica(err) {
				t.Errorf("member %d: %v", i, err)
			}
			_, err = m.Query(t.Context(), 0, meta.BucketQuery{Name: "bucket"}, meta.Linearizable)
			if leads := len(m.Leads()) == 1; leads && err != nil || !leads && !isOfReplica(err) {
				t.Errorf("member %d, leads %v: %v", i, leads, err)
			}
		}
	})
}

// damageLog damages the first batch of the newest segment of a log, or the last.
func damageLog(t *testing.T, dir string, tail bool) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, metaDir, logDir, "seg-*.log"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	p, err := os.ReadFile(paths[len(paths)-1])
	if err != nil {
		t.Fatal(err)
	}
	const block = 4096
	at := 0
	for tail && at+block < len(p) && binary.LittleEndian.Uint32(p[at+block:]) != 0 {
		at += block // to the mark of a clean end
	}
	p[at+20] ^= 0xff
	if err := os.WriteFile(paths[len(paths)-1], p, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A damaged host is made anew under another id and becomes a voter again.
func TestMemberDamaged(t *testing.T) {
	for _, what := range []string{"log", "doubtful tail", "record", "no record", "no log"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrew(t, 2, 3, 0)
				c.fill(20)
				old := c.all[2].ID()
				c.close(2)
				switch what {
				case "record":
					if err := os.WriteFile(recordPath(c.dirs[2]), []byte("x"), 0o600); err != nil {
						t.Fatal(err)
					}
				case "no record":
					if err := os.Remove(recordPath(c.dirs[2])); err != nil {
						t.Fatal(err)
					}
				case "no log":
					if err := os.RemoveAll(filepath.Join(c.dirs[2], metaDir, logDir)); err != nil {
						t.Fatal(err)
					}
				default:
					damageLog(t, c.dirs[2], what == "doubtful tail")
				}
				c.open(2)
				c.all[2].SetWant(3)
				c.eventually("another host", func() error {
					if id := c.all[2].ID(); id == old || id == 0 {
						return errors.New("the damaged one is still there")
					}
					return nil
				})
				c.voters(0, 1, 2)
				put(t, meta.NewClient(c), "after all")
			})
		})
	}
}

// When the logs of all hosts end in doubt, as after a power loss, they go on without their last batches.
func TestMembersAllInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2, 3, 0)
		c.fill(20)
		var ids []uint64
		for i := range c.dirs {
			ids = append(ids, c.all[i].ID())
			c.close(i)
			damageLog(t, c.dirs[i], true)
		}
		for i := range c.dirs {
			c.open(i)
		}
		put(t, meta.NewClient(c), "after all")
		for i, id := range ids {
			if c.all[i].ID() != id {
				t.Errorf("host %d was thrown away", i)
			}
		}
	})
}

// A replica whose state was changed behind its back is found and made anew.
func TestMemberDiverged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1, 3, 0)
		c.fill(20)
		old := c.all[2].ID()
		c.close(2)
		smuggle(t, filepath.Join(c.dirs[2], metaDir, stateDir))
		c.cfg.CompareEvery = 10 * time.Second
		for i := range c.dirs {
			if i != 2 {
				c.close(i)
			}
		}
		for i := range c.dirs {
			c.open(i)
			c.all[i].SetWant(3)
		}
		c.eventually("another replica", func() error {
			if c.all[2].ID() == old {
				return errors.New("the replica that differs is still there")
			}
			return nil
		})
		c.voters(0, 1, 2)
		for i := range 2 {
			if id := c.all[i].ID(); id == old {
				t.Errorf("replica %d was thrown away", i)
			}
		}
	})
}

// smuggle adds a record with a good checksum to the state of group 0.
func smuggle(t *testing.T, dir string) {
	t.Helper()
	db, err := lsm.Open(dir, lsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key := []byte{0, 0, 'T', 'x', 0}
	content := make([]byte, 8)
	txn := db.Begin()
	txn.Put(key, append(binary.LittleEndian.AppendUint64(nil, xxh3.HashSeed(content, xxh3.Hash(key))), content...))
	err = errors.Join(db.Commit(txn), db.Flush())
	txn.Release()
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}
