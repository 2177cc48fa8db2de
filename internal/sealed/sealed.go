// Package sealed keeps small records in files of their own that people may read
// and that damage cannot change unnoticed: identities, credentials, the like.
//
// A sealed file is one line of text and one line of JSON:
//
//	kintsugi-drive 1 1c291ca3\n
//	{"Cluster":"...",...}\n
//
// The first line holds what it is, its version and the CRC-32 (IEEE, hexadecimal)
// of the second line, whose newline is included. Package sealed must not know
// any record.
package sealed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"kintsugi/internal/directio"
)

var (
	// ErrDamaged: the file does not hold what was written into it.
	ErrDamaged = errors.New("damaged")
	// ErrFuture: a newer program wrote it.
	ErrFuture = errors.New("of a newer format")
)

// Kind is what a file holds: a word and its newest version.
type Kind struct {
	Name    string
	Version int
}

// Read decodes the file at path into record. It fails with fs.ErrNotExist, ErrDamaged or ErrFuture, wrapped.
func (k Kind) Read(path string, record any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := k.Decode(data, record); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Write makes the file at path hold record, durably and readable by its owner
// only; a crash leaves the old content or the new.
func (k Kind) Write(path string, record any) error {
	data, err := k.Encode(record)
	if err != nil {
		return err
	}
	return replace(path, data)
}

// Encode seals record.
func (k Kind) Encode(record any) ([]byte, error) {
	body, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	head := fmt.Sprintf("%s %d %08x\n", k.Name, k.Version, crc32.ChecksumIEEE(body))
	return append([]byte(head), body...), nil
}

// Decode opens what Encode made.
func (k Kind) Decode(data []byte, record any) error {
	head, body, _ := bytes.Cut(data, []byte{'\n'})
	fields := strings.Fields(string(head))
	if len(fields) != 3 || fields[0] != k.Name || fields[2] != fmt.Sprintf("%08x", crc32.ChecksumIEEE(body)) {
		return ErrDamaged
	}
	version, err := strconv.Atoi(fields[1])
	if err != nil || version < 1 {
		return ErrDamaged
	}
	if version > k.Version {
		return fmt.Errorf("%s is %w: %d, this program knows %d", k.Name, ErrFuture, version, k.Version)
	}
	if err := json.Unmarshal(body, record); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// TempPrefix begins the names of files that a crash within Write leaves behind.
const TempPrefix = ".new-"

func replace(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), TempPrefix+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return directio.SyncDir(filepath.Dir(path))
}
