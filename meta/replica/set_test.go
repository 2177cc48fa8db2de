package replica

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"kintsugi/internal/drive"
	"kintsugi/meta"
	"kintsugi/placement"
)

// testDrives makes n drives with an identity each.
func testDrives(t *testing.T, n int) []Drive {
	t.Helper()
	drives := make([]Drive, n)
	for i := range drives {
		id := drive.Identity{Cluster: drive.ID{1}, Drive: drive.ID{2, byte(i)}, Partitions: 16, Groups: 2}
		drives[i] = Drive{ID: placement.DriveID(id.Drive), Dir: filepath.Join(t.TempDir(), "d")}
		if err := os.Mkdir(drives[i].Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := drive.Commit(drives[i].Dir, id); err != nil {
			t.Fatal(err)
		}
	}
	return drives
}

func newTestSet(t *testing.T, drives []Drive, want int) (*Set, *meta.Client) {
	t.Helper()
	s, err := Birth(Config{Groups: 2, Want: want}, drives)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Log(err)
		}
	})
	c := meta.NewClient(s)
	if err := c.CreateBucket(t.Context(), meta.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func mustSeeBucket(t *testing.T, c *meta.Client) {
	t.Helper()
	if _, err := c.Bucket(t.Context(), "bucket", meta.Linearizable); err != nil {
		t.Fatal(err)
	}
}

// Whatever the state of a lost leader says while it goes down, no caller hears it.
func TestLostLeaderIsNotHeard(t *testing.T) {
	for name, lose := range map[string]func(*host) error{
		"directory removed": func(h *host) error { return os.RemoveAll(h.drive.Dir) },
		"state closed":      func(h *host) error { return h.machine.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newTestSet(t, testDrives(t, 3), 3)
			h := s.findLeader(0)
			if h == nil {
				t.Fatal("nobody leads")
			}
			if err := lose(h); err != nil {
				t.Fatal(err)
			}
			if name == "state closed" { // nothing watches for that: the drive goes, too
				time.AfterFunc(50*time.Millisecond, func() { s.RemoveDrive(h.drive) })
			}
			for began := time.Now(); time.Since(began) < time.Second; {
				mustSeeBucket(t, c)
				if err := c.SetVersioning(t.Context(), "bucket", meta.VersioningEnabled); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// When a quorum was lost and its drives come back, their hosts go on with what they have.
func TestReturnedDrivesServeAgain(t *testing.T) {
	drives := testDrives(t, 3)
	s, c := newTestSet(t, drives, 3)
	for _, d := range drives[:2] {
		s.RemoveDrive(d)
	}
	for began := time.Now(); s.Ready(); time.Sleep(10 * time.Millisecond) { // until the leader notices
		if time.Since(began) > 10*time.Second {
			t.Fatal("one of three is ready")
		}
	}
	for _, d := range drives[:2] {
		s.AddDrive(d)
	}
	mustSeeBucket(t, c)
	if got := s.Count(); got.Alive < 2 || got.Voters != 3 {
		t.Errorf("replicas = %+v", got)
	}
}
