package storagenode

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/erasure"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

func TestReplacedDrives(t *testing.T) {
	for _, c := range []struct {
		name            string
		k, m, drives    int
		replaced        []int
		chunks, perByte int
	}{
		{"one of six", 4, 2, 6, []int{2}, 300, 3000},
		{"two of six", 4, 2, 6, []int{0, 5}, 100, 3000},
		{"one of nine", 4, 2, 9, []int{4}, 100, 3000},
		{"one of a mirror", 1, 1, 2, []int{1}, 50, 3000},
		{"large chunks", 4, 2, 6, []int{3}, 3, 2 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := newTestCluster(t, 64, c.k, c.m, c.drives)
				cluster.write(c.chunks, int64(c.perByte))
				for i := range c.drives {
					cluster.start(i)
				}
				time.Sleep(time.Minute)
				cluster.down(c.replaced...)
				for _, i := range c.replaced {
					cluster.destroy(driveID(i))
					cluster.change(placement.ReplaceDrive{Old: driveID(i), New: cluster.member(20 + i)})
					cluster.start(20 + i)
				}
				cluster.await(20 * time.Second)
			})
		})
	}
}

func TestReturningDriveCatchesUp(t *testing.T) {
	for _, down := range [][]int{{1}, {1, 4}} {
		for _, drives := range []int{6, 9} {
			t.Run(fmt.Sprint(down, " of ", drives), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cluster := newTestCluster(t, 16, 4, 2, drives)
					cluster.config = func(cfg *Config) { cfg.FullPass = 2 * time.Minute }
					for i := range drives {
						cluster.start(i)
					}
					cluster.write(40, 1000)
					cluster.down(down...)
					cluster.write(40, 1000)
					time.Sleep(time.Minute)
					cluster.back(down...)
					cluster.until(10*time.Second, func() error { return redundant(cluster) })
					cluster.await(10 * time.Minute) // what stands in the wrong place is no danger, and waits for the full pass
				})
			})
		}
	}
}

// redundant tells whether every chunk has all its shards, wherever.
func redundant(c *testCluster) error {
	count, err := NewCounter(c, nil).Count(c.ctx)
	if err != nil {
		return err
	}
	if count.Chunks != uint64(len(c.chunks)) || count.Whole() != count.Chunks {
		return fmt.Errorf("%+v", count)
	}
	return nil
}

func TestGrowAndShrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 64, 2, 1, 4)
		cluster.write(200, 1000)
		cluster.start(0, 1, 2, 3)
		cluster.change(placement.AddDrive{Drive: cluster.member(4)})
		cluster.start(4)
		cluster.await(time.Minute)
		cluster.change(placement.SetState{ID: driveID(0), State: placement.Draining})
		cluster.await(time.Minute)
		if n := cluster.drives[driveID(0)].Usage().Shards; n != 0 {
			t.Errorf("the drained drive has %d shards", n)
		}
		cluster.change(placement.RemoveDrive{ID: driveID(0)})
		cluster.await(time.Minute)
	})
}

func TestHintRepairsDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 4, 2, 6)
		cluster.write(1, 1000)
		cluster.start(0, 1, 2, 3, 4, 5)
		time.Sleep(time.Minute)
		for id := range cluster.chunks {
			homes := cluster.m.Homes(cluster.m.Partition(id.blob, id.chunk))
			cluster.drives[homes[3]].Damage(id.shard(3))
			cluster.drives[homes[0]].Drop(t.Context(), []placement.ShardID{id.shard(0)})
			cluster.hint(id.shard(3))
			cluster.hint(id.shard(0))
		}
		cluster.await(time.Second)
	})
}

func TestScrubberFindsDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 4, 2, 6)
		cluster.write(20, 1000)
		cluster.start(0, 1, 2, 3, 4, 5)
		drive := cluster.drives[driveID(2)]
		s := NewScrubber(ScrubConfig{Interval: time.Hour, Hint: func(id placement.ShardID) { go cluster.running[driveID(2)].Hint(id) }}, drive)
		go s.Run(cluster.ctx)
		time.Sleep(time.Minute)
		for id := range cluster.chunks {
			if i := indexOf(cluster.m.Homes(cluster.m.Partition(id.blob, id.chunk)), driveID(2)); i >= 0 {
				drive.Damage(id.shard(i))
			}
		}
		cluster.await(2 * time.Hour)
	})
}

// TestSourceFailsMidway damages a source between two windows of a rebuild.
func TestSourceFailsMidway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 4, 4, 2, 6)
		cluster.writeChunk(testChunk, 6<<20)
		homes := cluster.m.Homes(cluster.m.Partition(testChunk.blob, testChunk.chunk))
		cluster.drives[homes[0]].Drop(t.Context(), []placement.ShardID{testChunk.shard(0)})
		cluster.drives[homes[2]].lost[testChunk.shard(2)] = true
		cluster.start(0, 1, 2, 3, 4, 5)
		time.Sleep(2 * time.Second)
		cluster.drives[homes[2]].mu.Lock()
		clear(cluster.drives[homes[2]].lost)
		cluster.drives[homes[2]].mu.Unlock()
		cluster.await(time.Minute)
	})
}

// TestAllSourcesFail: every source of a rebuild fails at once, after the survey. It is tried again.
func TestAllSourcesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 4, 4, 2, 6)
		cluster.writeChunk(testChunk, 1000)
		homes := cluster.m.Homes(cluster.m.Partition(testChunk.blob, testChunk.chunk))
		cluster.drives[homes[0]].Drop(t.Context(), []placement.ShardID{testChunk.shard(0)})
		refuse := func(refuse bool) {
			for i := 1; i < 6; i++ {
				d := cluster.drives[homes[i]]
				d.mu.Lock()
				d.refuse = refuse
				d.mu.Unlock()
			}
		}
		refuse(true)
		cluster.start(0, 1, 2, 3, 4, 5)
		time.Sleep(15 * time.Second)
		refuse(false)
		cluster.await(2 * time.Minute)
	})
}

// deletedWhileAway is a cluster of four drives in which everything was deleted while two were away.
func deletedWhileAway(t *testing.T) *testCluster {
	t.Helper()
	cluster := newTestCluster(t, 4, 2, 2, 4)
	cluster.start(0, 1, 2, 3)
	cluster.write(20, 1000)
	cluster.down(2, 3)
	for id := range cluster.chunks {
		ids := []placement.ShardID{id.shard(0), id.shard(1), id.shard(2), id.shard(3)}
		for _, i := range []int{0, 1} {
			if err := cluster.drives[driveID(i)].Delete(t.Context(), ids); err != nil {
				t.Fatal(err)
			}
		}
	}
	return cluster
}

func TestDeletedStaysDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := deletedWhileAway(t)
		cluster.back(2, 3) // with two shards of each chunk, as many as it takes
		cluster.destroy(driveID(0))
		cluster.halt(driveID(0))
		cluster.change(placement.ReplaceDrive{Old: driveID(0), New: cluster.member(10)})
		cluster.start(10)
		cluster.until(time.Minute, func() error {
			if n := len(cluster.Map().Open()); n > 0 {
				return fmt.Errorf("%d transitions are open", n)
			}
			return nil
		})
		for _, i := range []int{1, 2, 3, 10} {
			if n := cluster.drives[driveID(i)].Usage().Shards; n != 0 {
				t.Errorf("drive %d has %d shards of what was deleted", i, n)
			}
		}
	})
}

// TestDeletedPastAReturn lets deletes go past a drive that is back and has compared itself already, by one who does not know yet.
func TestDeletedPastAReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 4, 2, 2, 4)
		cluster.start(0, 1, 2, 3)
		cluster.write(20, 1000)
		time.Sleep(time.Minute)
		cluster.down(3)
		cluster.back(3)
		time.Sleep(2 * time.Second)
		for id := range cluster.chunks {
			ids := []placement.ShardID{id.shard(0), id.shard(1), id.shard(2), id.shard(3)}
			for _, i := range []int{0, 1, 2} {
				if err := cluster.drives[driveID(i)].Delete(t.Context(), ids); err != nil {
					t.Fatal(err)
				}
			}
		}
		cluster.until(20*time.Second, func() error {
			if n := cluster.drives[driveID(3)].Usage().Shards; n != 0 {
				return fmt.Errorf("%d shards of what was deleted", n)
			}
			return nil
		})
	})
}

// TestNarrowChunksComeHomeTogether writes chunks past a drive that is away: each shard is one home further on. That a repair has
// written one of them a moment ago makes the others wait no longer.
func TestNarrowChunksComeHomeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 4, 2, 6)
		cluster.start(0, 1, 2, 3, 4, 5)
		cluster.down(0)
		cluster.write(40, 1000)
		cluster.back(0)
		if took := cluster.await(time.Minute); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestLostHint has a drive miss a write without knowing: nobody hints at it. It is found out by the others' looks, or by its own.
func TestLostHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 4, 4, 2, 6)
		cluster.start(0, 1, 2, 3, 4, 5)
		cluster.write(20, 1000)
		time.Sleep(time.Minute)
		for id, body := range cluster.chunks {
			home := cluster.Map().Homes(cluster.Map().Partition(id.blob, id.chunk))[3]
			if err := cluster.drives[home].Memory.Drop(t.Context(), []placement.ShardID{id.shard(3)}); err != nil || body.params.M != 2 {
				t.Fatal(err)
			}
		}
		cluster.await(compareInterval + time.Minute)
	})
}

// What a drive kept of chunks that were deleted while it was away goes when it is back.
func TestRemainsOfTheDeletedGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := deletedWhileAway(t)
		cluster.back(2, 3)
		cluster.until(time.Minute, func() error {
			if n := cluster.drives[driveID(2)].Usage().Shards + cluster.drives[driveID(3)].Usage().Shards; n > 0 {
				return fmt.Errorf("%d shards are left", n)
			}
			return nil
		})
	})
}

func TestUnrecoverableIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 4, 2, 6)
		cluster.write(40, 1000)
		cluster.down(0, 1, 2)
		cluster.destroy(driveID(2))
		cluster.change(placement.ReplaceDrive{Old: driveID(2), New: cluster.member(12)})
		cluster.start(3, 4, 5, 12)
		time.Sleep(10 * time.Minute)
		if count, err := NewCounter(cluster, nil).Count(t.Context()); err != nil || count.Unreadable != 40 || count.Chunks != 40 {
			t.Errorf("%+v, %v", count, err)
		}
		if s := cluster.running[driveID(12)].Status(); s.PendingShards != 0 {
			t.Errorf("it is still at it: %+v", s)
		}
		cluster.back(0, 1)
		cluster.await(10 * time.Second)
	})
}

// TestForeignCode gives a home a shard of another code than the rest: it must be left alone, and nothing may spin.
func TestForeignCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 4, 2, 1, 3)
		cluster.writeChunk(testChunk, 1000)
		p := cluster.m.Partition(testChunk.blob, testChunk.chunk)
		home := cluster.m.Homes(p)[0]
		drive := cluster.drives[home]
		drive.Drop(t.Context(), []placement.ShardID{testChunk.shard(0)})
		h := shardstore.Header{ID: testChunk.shard(0), Partition: p, K: 1, M: 1, ChunkSize: 64}
		if err := drive.Put(t.Context(), h, make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		cluster.config = func(cfg *Config) { cfg.FullPass = time.Minute }
		cluster.start(0, 1, 2)
		time.Sleep(time.Hour)
		if info, err := drive.Stat(t.Context(), testChunk.shard(0)); err != nil || info.K != 1 || drive.counted() > 10_000 {
			t.Errorf("%+v, %v after %d calls", info, err, drive.counted())
		}
	})
}

func TestFullDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 2, 1, 3)
		cluster.write(20, 1000)
		cluster.down(0)
		cluster.destroy(driveID(0))
		fresh := cluster.member(10)
		cluster.drives[driveID(10)].SetFull(true)
		cluster.change(placement.ReplaceDrive{Old: driveID(0), New: fresh})
		cluster.start(1, 2, 10)
		time.Sleep(10 * time.Minute)
		cluster.drives[driveID(10)].SetFull(false)
		cluster.await(20 * time.Minute)
	})
}

func TestOwnDriveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 2, 1, 3)
		cluster.write(20, 1000)
		cluster.start(0, 1, 2)
		time.Sleep(time.Minute)
		cluster.drives[driveID(1)].Fail()
		for id := range cluster.chunks {
			cluster.hint(id.shard(0))
			cluster.hint(id.shard(1))
			cluster.hint(id.shard(2))
		}
		time.Sleep(time.Minute)
		cluster.change(placement.SetState{ID: driveID(1), State: placement.Out})
		time.Sleep(time.Minute)
		if err := cluster.halt(driveID(1)); !errors.Is(err, shardstore.ErrFailed) {
			t.Errorf("Run ended with %v", err)
		}
		if err := cluster.halt(driveID(0)); err != nil {
			t.Errorf("Run of a healthy drive ended with %v", err)
		}
	})
}

func TestIdleDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 64, 4, 2, 6)
		cluster.config = func(cfg *Config) { cfg.FullPass = 100 * time.Hour }
		cluster.write(50, 1000)
		cluster.start(0, 1, 2, 3, 4, 5)
		time.Sleep(time.Minute)
		calls := func() (sum int) {
			for _, d := range cluster.drives {
				sum += d.counted()
			}
			return sum
		}
		before, lists := calls(), cluster.lists()
		time.Sleep(time.Hour)
		strayLooks := 6 * 64 * int(time.Hour/strayInterval)           // each drive's at its own digests, which are in memory
		compares := 6 * 64 * 6 * (int(time.Hour/compareInterval) + 1) // with those of all others, which tell all of them in one call where they are remote
		if n := calls() - before; n > strayLooks+compares || cluster.lists() != lists {
			t.Errorf("%d calls while nothing changed, want %d at most; %d lists, want none", n, strayLooks+compares, cluster.lists()-lists)
		}
	})
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 2, 1, 3)
		var busy atomic.Bool
		busy.Store(true)
		cluster.config = func(cfg *Config) {
			cfg.BytesPerSecond = 1 << 20
			cfg.Busy = func() bool { return busy.Load() }
		}
		cluster.write(20, 200<<10) // of about 300 KiB: three times 150 KiB are moved for each
		time.Sleep(time.Minute)
		cluster.down(0)
		cluster.destroy(driveID(0))
		cluster.change(placement.ReplaceDrive{Old: driveID(0), New: cluster.member(10)})
		cluster.start(10)
		time.Sleep(5 * time.Second)
		if s := cluster.running[driveID(10)].Status(); s.PendingShards < 10 || s.ETA == 0 {
			t.Errorf("after five seconds at a quarter: %+v", s)
		}
		busy.Store(false)
		if took := cluster.await(time.Minute); took < 5*time.Second {
			t.Errorf("the rest took %s", took)
		}
		time.Sleep(time.Minute)
		if s := cluster.running[driveID(10)].Status(); s.PendingShards != 0 || s.ETA != 0 {
			t.Errorf("at the end: %+v", s)
		}
	})
}

// TestAnyTrouble loses, damages, replaces and moves at random, never more than m at once.
func TestAnyTrouble(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { anyTrouble(t, seed) })
		})
	}
}

func anyTrouble(t *testing.T, seed uint64) {
	k, m, drives := 3, 2, 7
	if seed%2 == 1 {
		k, m, drives = 4, 2, 6 // every drive is home to every partition
	}
	cluster := newTestCluster(t, 16, k, m, drives)
	cluster.random = rand.New(rand.NewPCG(seed, 2))
	cluster.config = func(cfg *Config) { cfg.FullPass = 2 * time.Minute }
	for i := range drives {
		cluster.start(i)
	}
	fresh := 50
	for range 8 {
		cluster.write(10, 2000)
		m := cluster.Map()
		one, two := m.Drives[cluster.random.IntN(drives)].ID, m.Drives[cluster.random.IntN(drives)].ID
		switch cluster.random.IntN(4) {
		case 0: // two drives are away for a while
			cluster.down(int(one[1]))
			cluster.down(int(two[1]))
			cluster.write(10, 2000)
			cluster.back(int(one[1]))
			if two != one {
				cluster.back(int(two[1]))
			}
		case 1: // a drive is replaced while another is away
			fresh++
			cluster.down(int(one[1]))
			cluster.destroy(one)
			cluster.change(placement.ReplaceDrive{Old: one, New: cluster.member(fresh)})
			cluster.start(fresh)
			if two != one {
				cluster.down(int(two[1]))
				cluster.write(10, 2000)
				cluster.back(int(two[1]))
			}
		case 2: // damage
			for id := range cluster.chunks {
				home := m.Homes(m.Partition(id.blob, id.chunk))
				cluster.drives[home[1]].Damage(id.shard(1))
				cluster.hint(id.shard(1))
			}
		case 3: // weights
			cluster.change(placement.SetWeight{ID: one, Weight: 2}, placement.SetWeight{ID: two, Weight: 1})
		}
		cluster.await(10 * time.Minute)
	}
}

func TestCountRedundancy(t *testing.T) {
	cluster := newTestCluster(t, 8, 4, 2, 6)
	cluster.write(30, 1000)
	i := 0
	for id := range cluster.chunks {
		homes := cluster.m.Homes(cluster.m.Partition(id.blob, id.chunk))
		for slot := range i % 4 {
			cluster.drives[homes[slot]].Drop(t.Context(), []placement.ShardID{id.shard(slot)})
		}
		i++
	}
	count, err := NewCounter(cluster, nil).Count(t.Context())
	if err != nil || count.Chunks != 30 || count.Unreadable != 7 || fmt.Sprint(count.Lost) != "[8 8 7]" {
		t.Errorf("got %+v, %v", count, err)
	}
	if _, err := New(Config{}, cluster.drives[driveID(0)], cluster); err == nil {
		t.Error("a Reconciler of no drive")
	}
	if p := erasure.Default(6); p.K != cluster.m.K {
		t.Errorf("default code %s", p)
	}
}

func TestScrubNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 4, 2, 6)
		cluster.write(20, 1000)
		cluster.start(0, 1, 2, 3, 4, 5)
		drive := cluster.drives[driveID(2)]
		s := NewScrubber(ScrubConfig{Interval: 1000 * time.Hour, Hint: func(id placement.ShardID) { go cluster.running[driveID(2)].Hint(id) }}, drive)
		go s.Run(cluster.ctx)
		time.Sleep(time.Minute)
		for id := range cluster.chunks {
			if i := indexOf(cluster.m.Homes(cluster.m.Partition(id.blob, id.chunk)), driveID(2)); i >= 0 {
				drive.Damage(id.shard(i))
			}
		}
		s.ScrubNow()
		cluster.await(2 * time.Second)
		if s.Passes() != 2 {
			t.Errorf("%d passes", s.Passes())
		}
	})
}

// A drive whose node was stopped or cut off has missed hints: nothing but CatchUp tells it what others wrote meanwhile.
func TestCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 4, 2, 9)
		cluster.start(0, 1, 2, 3, 4, 5, 6, 7, 8)
		cluster.write(20, 1000)
		time.Sleep(time.Minute)
		stopped := cluster.drives[driveID(3)]
		stopped.mu.Lock()
		stopped.down = true
		stopped.mu.Unlock()
		cluster.write(40, 1000)
		time.Sleep(time.Minute)
		stopped.mu.Lock()
		stopped.down = false
		stopped.mu.Unlock()
		cluster.running[driveID(3)].CatchUp()
		cluster.await(5 * time.Second)
	})
}

func TestCompareAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 4, 2, 6)
		cluster.write(30, 1000)
		cluster.start(0, 1, 2, 3, 4, 5)
		time.Sleep(time.Minute)
		for id := range cluster.chunks { // a shard in the place of another
			homes := cluster.m.Homes(cluster.m.Partition(id.blob, id.chunk))
			d := cluster.drives[homes[1]]
			d.Drop(t.Context(), []placement.ShardID{id.shard(1)})
			h := shardstore.Header{ID: id.shard(0), Partition: cluster.m.Partition(id.blob, id.chunk), K: 4, M: 2, ChunkSize: uint32(cluster.chunks[id].size)}
			if err := d.Put(t.Context(), h, cluster.chunks[id].shards[0]); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range cluster.running {
			r.CompareAll()
		}
		cluster.await(20 * time.Second)
	})
}

func TestLimitChangesWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 2, 1, 3)
		cluster.config = func(cfg *Config) { cfg.BytesPerSecond = 64 << 10 }
		cluster.write(20, 200<<10)
		cluster.down(0)
		cluster.destroy(driveID(0))
		cluster.change(placement.ReplaceDrive{Old: driveID(0), New: cluster.member(10)})
		cluster.start(10)
		time.Sleep(20 * time.Second)
		if s := cluster.running[driveID(10)].Status(); s.PendingShards < 10 {
			t.Errorf("at a low rate: %+v", s)
		}
		cluster.running[driveID(10)].SetLimit(-1)
		cluster.await(10 * time.Second)
	})
}

// TestRebuildReadsInTheory holds repair to what the code says: k shards are read for one that is rebuilt, one for one
// that is copied.
func TestRebuildReadsInTheory(t *testing.T) {
	for _, c := range []struct {
		name   string
		copies bool
		want   float64
	}{{"rebuilt", false, 4}, {"copied", true, 1}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := newTestCluster(t, 64, 4, 2, 9)
				cluster.write(200, 40000)
				old := driveID(4)
				change := []placement.Change{placement.ReplaceDrive{Old: old, New: cluster.member(20)}}
				if c.copies { // the old one can still be read
					change = []placement.Change{placement.AddDrive{Drive: placement.Drive{ID: driveID(20), Weight: 1}}, placement.SetState{ID: old, State: placement.Draining}}
				} else {
					cluster.destroy(old)
				}
				cluster.change(change...)
				for id := range cluster.drives {
					cluster.start(int(id[1]))
				}
				cluster.await(20 * time.Second)
				var read, written uint64
				for _, r := range cluster.running {
					s := r.Status()
					read, written = read+s.ReadBytes, written+s.WrittenBytes
				}
				if got := float64(read) / float64(written); got < c.want || got > c.want*1.001 {
					t.Errorf("%.3f bytes read for each of %d written, want %.0f", got, written, c.want)
				}
			})
		})
	}
}
