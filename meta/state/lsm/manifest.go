package lsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeebo/xxh3"
)

// manifest names the tables that make up the database.
type manifest struct {
	nextID uint64
	tables []manifestEntry // the newest first
}

type manifestEntry struct {
	id        uint64
	size      int64
	footerSum uint64
}

func (m manifest) encode() []byte {
	b := make([]byte, 0, manifestHead+len(m.tables)*manifestEntrySize+sumSize)
	b = append(b, manifestMagic...)
	b = binary.LittleEndian.AppendUint64(b, m.nextID)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.tables)))
	for _, t := range m.tables {
		b = binary.LittleEndian.AppendUint64(b, t.id)
		b = binary.LittleEndian.AppendUint64(b, uint64(t.size))
		b = binary.LittleEndian.AppendUint64(b, t.footerSum)
	}
	return binary.LittleEndian.AppendUint64(b, xxh3.Hash(b))
}

func decodeManifest(b []byte) (manifest, error) {
	bad := fmt.Errorf("manifest: %w", ErrCorrupt)
	if len(b) < manifestHead+sumSize || string(b[:8]) != manifestMagic {
		return manifest{}, bad
	}
	body := b[:len(b)-sumSize]
	if binary.LittleEndian.Uint64(b[len(body):]) != xxh3.Hash(body) {
		return manifest{}, bad
	}
	n := int(binary.LittleEndian.Uint32(b[16:]))
	if n > maxTables || len(body) != manifestHead+n*manifestEntrySize {
		return manifest{}, bad
	}
	m := manifest{nextID: binary.LittleEndian.Uint64(b[8:]), tables: make([]manifestEntry, n)}
	for i := range m.tables {
		e := body[manifestHead+i*manifestEntrySize:]
		m.tables[i] = manifestEntry{
			id:        binary.LittleEndian.Uint64(e),
			size:      int64(binary.LittleEndian.Uint64(e[8:])),
			footerSum: binary.LittleEndian.Uint64(e[16:]),
		}
	}
	return m, nil
}

// loadTables reads the manifest and opens what it names. Files that it does not name are left over and removed.
func (db *DB) loadTables() ([]*table, error) {
	data, err := os.ReadFile(filepath.Join(db.dir, ManifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, db.beginEmpty()
	}
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(data)
	if err != nil {
		return nil, err
	}
	db.nextID = m.nextID
	named := make(map[string]bool)
	tables := make([]*table, 0, len(m.tables))
	for _, e := range m.tables {
		named[tableName(e.id)] = true
		t, err := openTable(db.path(e.id), e.id)
		if err == nil && (t.size != e.size || t.footerSum != e.footerSum) {
			tables = append(tables, t)
			err = fmt.Errorf("table %d is not the manifest's: %w", e.id, ErrCorrupt)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if err != nil {
			for _, t := range tables {
				t.discard()
			}
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, db.removeUnnamed(named)
}

// beginEmpty writes the first manifest. Tables without one are a damaged database, not an empty one.
func (db *DB) beginEmpty() error {
	entries, err := os.ReadDir(db.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tbl") {
			return fmt.Errorf("no manifest beside %s: %w", e.Name(), ErrCorrupt)
		}
	}
	return db.saveManifest(nil)
}

func (db *DB) removeUnnamed(named map[string]bool) error {
	entries, err := os.ReadDir(db.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tbl") && !named[e.Name()] {
			if err := os.Remove(filepath.Join(db.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// saveManifest makes tables, which are durable, the database's. One goroutine at a time calls it.
func (db *DB) saveManifest(tables []*table) error {
	db.mu.Lock()
	m := manifest{nextID: db.nextID}
	db.mu.Unlock()
	for _, t := range tables {
		m.tables = append(m.tables, manifestEntry{id: t.id, size: t.size, footerSum: t.footerSum})
	}
	path := filepath.Join(db.dir, ManifestName)
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(m.encode())
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return db.dirFile.Sync()
}
