package lsm

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"kintsugi/internal/directio"
)

// ballastName is a file without content that takes space: when the drive is full it is removed, so that
// what was committed, and the deletes that bring space back, can still be written.
const ballastName = "BALLAST"

// makeBallast takes the space if there is plenty.
func (db *DB) makeBallast() error {
	size := db.options.BallastBytes
	path := filepath.Join(db.dir, ballastName)
	if size <= 0 {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.Size() >= size {
		return nil
	}
	if space, err := directio.SpaceAt(db.dir); err != nil || space.Free < 4*size {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(file.Fd()), 0, 0, size)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EOPNOTSUPP) {
		err = os.Remove(path)
	}
	return errors.Join(err, file.Close())
}

// dropBallast gives the space back and tells whether there was any.
func (db *DB) dropBallast() bool {
	return os.Remove(filepath.Join(db.dir, ballastName)) == nil
}
