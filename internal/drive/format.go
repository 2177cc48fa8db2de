package drive

import (
	"fmt"
	"strconv"
	"time"

	"kintsugi/internal/sealed"
	"kintsugi/placement"
)

// Version is the format of a drive directory as a whole. A drive of a newer format is refused.
const Version = 1

// Identity is what a drive knows of itself and of its cluster's birth.
type Identity struct {
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

// identityKind is what a file with an Identity is sealed as.
var identityKind = sealed.Kind{Name: "kintsugi-drive", Version: Version}

// check refuses values that no program wrote.
func (id Identity) check() error {
	if id.Partitions <= 0 || id.Groups <= 0 || id.Drive == (ID{}) {
		return fmt.Errorf("%w: %d partitions, %d groups", sealed.ErrDamaged, id.Partitions, id.Groups)
	}
	return nil
}
