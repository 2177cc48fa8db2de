package state

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"kintsugi/internal/directio"
	"kintsugi/meta"
	"kintsugi/meta/state/lsm"
)

// watchDrive fails the machine when its directory vanishes: open files would go on as if nothing had happened.
func (m *Machine) watchDrive() {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-m.db.Failed():
			_ = m.fail(m.db.Err())
			return
		case <-tick.C:
		}
		if _, err := os.Lstat(filepath.Join(m.dir, lsm.ManifestName)); err != nil {
			_ = m.fail(fmt.Errorf("%w: %w", ErrVanished, err))
			return
		}
	}
}

// Admit tells whether a command may be proposed with this drive's space: ErrFull if it adds
// data and the reserve is reached. Deletes are always admitted. The replicas execute what was committed in any case.
func (m *Machine) Admit(cmd []byte) error {
	c, err := meta.DecodeCommand(cmd)
	if err != nil {
		return err
	}
	switch c.Op {
	case meta.OpCreateBucket, meta.OpPutObject, meta.OpCreateUpload, meta.OpPutPart, meta.OpSetTags:
	default:
		return nil
	}
	space, err := directio.SpaceAt(m.dir)
	if err != nil {
		return m.fail(fmt.Errorf("%w: %w", ErrVanished, err))
	}
	if space.Free < m.config.ReserveBytes {
		return meta.ErrFull
	}
	return nil
}
