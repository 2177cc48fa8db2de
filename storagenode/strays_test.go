package storagenode

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// leaveStrays puts a shard of every chunk on a drive that is not its home, and does something with it there. Every other chunk is
// deleted before.
func leaveStrays(t *testing.T, cluster *testCluster, then func(*countedDrive, placement.ShardID)) {
	t.Helper()
	m, n := cluster.Map(), 0
	for id, body := range cluster.chunks {
		homes := m.Homes(m.Partition(id.blob, id.chunk))
		i := slices.IndexFunc(m.Drives, func(d placement.Drive) bool { return !slices.Contains(homes, d.ID) })
		if n++; n%2 == 0 {
			for slot, home := range homes {
				if err := cluster.drives[home].Delete(t.Context(), []placement.ShardID{id.shard(slot)}); err != nil {
					t.Fatal(err)
				}
			}
			delete(cluster.chunks, id)
		}
		h := shardstore.Header{
			ID: id.shard(1), Partition: m.Partition(id.blob, id.chunk), Epoch: m.Epoch,
			K: uint8(body.params.K), M: uint8(body.params.M), ChunkSize: uint32(body.size),
		}
		drive := cluster.drives[m.Drives[i].ID]
		if err := drive.Put(t.Context(), h, body.shards[1]); err != nil {
			t.Fatal(err)
		}
		then(drive, h.ID)
	}
}

// Shards that late writers leave on drives that are not their homes go without a change of the map or a hint: of chunks that
// are whole, and of chunks that are deleted.
func TestStraysGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 2, 2, 6)
		for i := range 6 {
			cluster.start(i)
		}
		cluster.write(40, 1000)
		leaveStrays(t, cluster, func(*countedDrive, placement.ShardID) {})
		cluster.until(3*strayInterval, func() error {
			shards := uint64(0)
			for _, d := range cluster.drives {
				shards += d.Usage().Shards
			}
			if want := uint64(4 * len(cluster.chunks)); shards != want {
				return fmt.Errorf("%d shards, want %d", shards, want)
			}
			return nil
		})
		cluster.await(time.Minute)
	})
}

// Damaged shards that nobody needs are in no list: of chunks whose homes are complete, and of deleted ones.
func TestDamagedStraysGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 2, 2, 6)
		for i := range 6 {
			cluster.start(i)
		}
		cluster.write(20, 1000)
		leaveStrays(t, cluster, func(d *countedDrive, id placement.ShardID) {
			d.Damage(id)
			cluster.hint(id)
		})
		cluster.until(time.Minute, func() error {
			damaged := uint64(0)
			for _, d := range cluster.drives {
				damaged += d.Usage().Corrupt
			}
			if damaged > 0 {
				return fmt.Errorf("%d damaged shards are still there", damaged)
			}
			return nil
		})
		cluster.await(time.Minute)
	})
}

func TestStrayWatchIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 2, 2, 6)
		cluster.write(100, 1000)
		m, me := cluster.Map(), driveID(0)
		next, err := m.With(placement.SetState{ID: me, State: placement.Out})
		if err != nil {
			t.Fatal(err)
		}
		next = next.Complete(next.Open())
		w, looks := strayWatch{}, 0
		for began := time.Now(); time.Since(began) < 2*time.Hour; time.Sleep(time.Second) {
			if len(w.look(t.Context(), time.Now(), next, me, cluster.drives[me])) > 0 {
				looks++
			}
		}
		if looks < 5 || looks > 12 {
			t.Errorf("it looked %d times in two hours at what does not go", looks)
		}
	})
}

// TestRemovedDriveHoldsNothingUp: a drive that an operator has removed can never be asked again, so what is left of a deleted chunk is not
// dropped. It must not keep a partition in transition whose new home has got its shard before the others were told of the deletion.
func TestRemovedDriveHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newTestCluster(t, 16, 2, 2, 8)
		for i := range 8 {
			cluster.start(i)
		}
		cluster.write(40, 1000)
		cluster.change(placement.SetState{ID: driveID(0), State: placement.Draining})
		cluster.await(time.Minute)
		cluster.change(placement.SetState{ID: driveID(0), State: placement.Out}, placement.SetWeight{ID: driveID(0)})
		cluster.await(time.Minute)
		cluster.destroy(driveID(0))
		cluster.halt(driveID(0))
		time.Sleep(time.Minute)
		cluster.change(placement.AddDrive{Drive: cluster.member(8)})
		m := cluster.Map()
		for id, body := range cluster.chunks {
			p := m.Partition(id.blob, id.chunk)
			homes := m.Homes(p)
			slot := slices.Index(homes, driveID(8))
			if slot < 0 {
				continue
			}
			h := shardstore.Header{ID: id.shard(slot), Partition: p, Epoch: m.Epoch, K: 2, M: 2, ChunkSize: uint32(body.size)}
			if err := cluster.drives[driveID(8)].Put(t.Context(), h, body.shards[slot]); err != nil {
				t.Fatal(err)
			}
			other := (slot + 1) % 4
			if err := cluster.drives[homes[other]].Delete(t.Context(), []placement.ShardID{id.shard(other)}); err != nil {
				t.Fatal(err)
			}
		}
		cluster.start(8)
		cluster.until(time.Minute, func() error {
			if n := len(cluster.Map().Open()); n > 0 {
				return fmt.Errorf("%d transitions are open", n)
			}
			return nil
		})
	})
}
