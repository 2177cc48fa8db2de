package secret

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	long := strings.Repeat("s3cret! ", 5) // 39 bytes without the space at its end
	cases := []struct {
		name string
		text string
		mode fs.FileMode
		want error
	}{
		{"good", long, 0o600, nil},
		{"read only", long, 0o400, nil},
		{"the shortest", strings.Repeat("x", MinBytes), 0o600, nil},
		{"too short", strings.Repeat("x", MinBytes-1), 0o600, ErrLength},
		{"only white space counts it long", strings.Repeat("x", MinBytes-1) + "\n\n", 0o600, ErrLength},
		{"empty", "", 0o600, ErrLength},
		{"too long", strings.Repeat("x", maxBytes+1), 0o600, ErrLength},
		{"group may read", long, 0o640, ErrMode},
		{"others may write", long, 0o602, ErrMode},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			path := writeFile(t, tc.text, tc.mode)
			_, err := Load(path)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if tc.want == ErrMode && !strings.Contains(err.Error(), "chmod 600 "+path) {
				t.Errorf("%q does not say what to do", err)
			}
			if err != nil && len(tc.text) > 8 && strings.Contains(err.Error(), strings.TrimSpace(tc.text)) {
				t.Error("the error tells the secret")
			}
		})
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a directory was taken for a secret")
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

func writeFile(t *testing.T, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhiteSpaceAroundDoesNotCount(t *testing.T) {
	text := strings.Repeat("abcd", 10)
	a, err := Load(writeFile(t, text, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Load(writeFile(t, " \t"+text+"\r\n", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if a.Key("x") != b.Key("x") {
		t.Error("other keys with white space around")
	}
}

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	made, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", info.Mode().Perm())
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if made.Key("a") != loaded.Key("a") {
		t.Error("the loaded secret is another than the one created")
	}
	if _, err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want %v", err, fs.ErrExist)
	}
	other, err := Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	if made.Key("a") == other.Key("a") {
		t.Error("two new secrets are equal")
	}
}

// The derivation is part of the wire format: all releases must derive the same.
func TestKeysStayTheSame(t *testing.T) {
	s, err := parse([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	key := s.Key("test")
	const want = "dc2e59ec36edb9b2466c5960308647e85ba591a1efeee874acc2439b96bcce88"
	if got := hex.EncodeToString(key[:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s.Key("test") == s.Key("test2") {
		t.Error("two purposes have one key")
	}
	if long := s.Bytes("test", 80); !bytes.HasPrefix(long, key[:]) {
		t.Error("Bytes and Key differ")
	}
}

func TestNeverPrinted(t *testing.T) {
	text := "0123456789abcdef0123456789abcdef"
	s, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	type config struct{ Secret *Secret }
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("secret", s))
	for _, got := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %x %q", s, s, s, s, s, s), fmt.Sprintf("%+v", config{s}), fmt.Sprintf("%+v %x", *s, *s), log.String(),
	} {
		if strings.Contains(got, text) || strings.Contains(got, hex.EncodeToString([]byte(text))) {
			t.Errorf("printed: %s", got)
		}
	}
}
