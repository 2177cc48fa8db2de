package secret

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
)

// MinBytes is the least length of a secret, without white space around it.
const MinBytes = 32

// maxBytes bounds what is read of a file that was named by mistake.
const maxBytes = 64 << 10

// newBytes is how much randomness a new secret has.
const newBytes = 32

// Errors of Load, wrapped with the path and what to do.
var (
	ErrMode   = errors.New("others may read the cluster secret")
	ErrLength = errors.New("not a cluster secret by its length")
)

// Secret is what all processes of a cluster share and nobody else knows. It is never printed.
type Secret struct {
	ikm []byte
}

// Load reads the file at path. It refuses one that others than its owner may read or that is shorter than MinBytes.
func Load(path string) (*Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: %w", path, ErrLength)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w (mode %04o): chmod 600 %s", ErrMode, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, err
	}
	s, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// parse takes the text of a file. White space around it does not count: editors and copies add line ends.
func parse(text []byte) (*Secret, error) {
	ikm := bytes.TrimSpace(text)
	if len(ikm) < MinBytes || len(text) > maxBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, should have %d to %d", ErrLength, len(ikm), MinBytes, maxBytes)
	}
	return &Secret{ikm: ikm}, nil
}

// Create makes a file with a new random secret, mode 0600. It fails if there is one.
func Create(path string) (*Secret, error) {
	raw := make([]byte, newBytes)
	rand.Read(raw) // never fails, by its contract
	text := base64.RawURLEncoding.AppendEncode(nil, raw)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := write(f, text); err != nil {
		os.Remove(path)
		return nil, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return parse(text)
}

func write(f *os.File, text []byte) error {
	_, err := f.Write(append(bytes.Clone(text), '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Key derives the 32-byte key for a purpose (HKDF-SHA256, RFC 5869). Other purposes tell nothing of it.
func (s *Secret) Key(purpose string) [32]byte {
	return [32]byte(s.Bytes(purpose, 32))
}

// Bytes derives n bytes for a purpose; as Key, for more or fewer bytes. The first 32 are Key's.
func (s *Secret) Bytes(purpose string, n int) []byte {
	key, err := hkdf.Key(sha256.New, s.ikm, nil, "kintsugi "+purpose, n)
	if err != nil {
		panic("secret: more bytes asked for than HKDF can derive: " + err.Error())
	}
	return key
}

// Format keeps the secret out of whatever it is printed to, with any verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "[secret]") }

// LogValue does the same for log records.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }
