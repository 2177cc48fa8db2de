package drive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"kintsugi/placement"
)

// Version is the format of a drive directory as a whole. A drive of a newer format is refused.
const Version = 1

// Identity is what a drive knows of itself and of its cluster's birth.
type Identity struct {
	Version    int       // format of the directory
	Cluster    ID        // the cluster it belongs to
	Drive      ID        // never used again for another directory
	Created    time.Time // UTC
	Partitions int       // of the ring, fixed at birth
	Groups     int       // of the metadata, fixed at birth
}

// ID is a 16-byte identity in its written form: 32 hexadecimal digits.
type ID [16]byte

func (id ID) MarshalText() ([]byte, error) { return []byte(placement.DriveID(id).String()), nil }

// UnmarshalText reads 32 hexadecimal digits.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) != 2*len(id) {
		return fmt.Errorf("identity %q: want %d hexadecimal digits", text, 2*len(id))
	}
	for i := range id {
		b, err := strconv.ParseUint(string(text[2*i:2*i+2]), 16, 8)
		if err != nil {
			return fmt.Errorf("identity %q: %w", text, err)
		}
		id[i] = byte(b)
	}
	return nil
}

// An identity file is one line of text and one line of JSON, for people to read:
//
//	kintsugi-drive 1 1c291ca3\n
//	{"Version":1,"Cluster":"...","Drive":"...",...}\n
//
// The first line has the format's version and the CRC-32 (IEEE, hexadecimal) of
// the second, its newline included.
const magic = "kintsugi-drive"

var (
	errDamaged = errors.New("identity is damaged")
	errFuture  = errors.New("identity is of a newer format")
)

func encode(id Identity) ([]byte, error) {
	body, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	head := fmt.Sprintf("%s %d %08x\n", magic, id.Version, crc32.ChecksumIEEE(body))
	return append([]byte(head), body...), nil
}

// decode fails with errDamaged or errFuture, wrapped.
func decode(data []byte) (Identity, error) {
	head, body, found := bytes.Cut(data, []byte{'\n'})
	fields := strings.Fields(string(head))
	if !found || len(fields) != 3 || fields[0] != magic {
		return Identity{}, errDamaged
	}
	version, err := strconv.Atoi(fields[1])
	if err != nil || fields[2] != fmt.Sprintf("%08x", crc32.ChecksumIEEE(body)) {
		return Identity{}, errDamaged
	}
	if version > Version {
		return Identity{}, fmt.Errorf("%w: %d, this program knows %d", errFuture, version, Version)
	}
	var id Identity
	if err := json.Unmarshal(body, &id); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if id.Version != version || id.Partitions <= 0 || id.Groups <= 0 {
		return Identity{}, errDamaged
	}
	return id, nil
}
