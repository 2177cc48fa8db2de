package lsm

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
)

// TestViewsBesideCommits reads while transactions are inserted right where the readers look: a view has every
// key, and all of it is of one transaction.
func TestViewsBesideCommits(t *testing.T) {
	db := openTest(t, t.TempDir(), 256<<10)
	commit(t, db, map[string]string{"k": "0", "m": "0"})
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					checkView(t, db)
				}
			}
		})
	}
	for i := range 4_000 {
		value := strconv.Itoa(i)
		commit(t, db, map[string]string{"k": value, fmt.Sprintf("j%04d", i): "", fmt.Sprintf("l%04d", i): "", "m": value})
	}
	close(done)
	readers.Wait()
}

func checkView(t *testing.T, db *DB) {
	v := db.View()
	defer v.Release()
	var values [2]string
	for i, key := range []string{"k", "m"} {
		ok, err := v.Get([]byte(key), func(value []byte) error {
			values[i] = string(value)
			return nil
		})
		if !ok || err != nil {
			t.Errorf("%q is not there: %v", key, err)
		}
	}
	if values[0] != values[1] {
		t.Errorf("one view has the values %v", values)
	}
}
