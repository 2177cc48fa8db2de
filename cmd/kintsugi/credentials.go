package main

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kintsugi/gateway/sigv4"
	"kintsugi/internal/sealed"
)

// credentialsName is the file in every drive that keeps the root credentials, mode 0600.
// Like everything precious it is on all drives: any one of them is enough.
const credentialsName = "kintsugi.credentials"

// credentials are the root access key and its secret.
type credentials struct {
	accessKey, secretKey string
	source               string // where they came from, for people
}

// Secret makes credentials the gateway's key ring: there is one key, the root's.
func (c credentials) Secret(accessKey string) (string, sigv4.Identity, bool) {
	if accessKey != c.accessKey {
		return "", sigv4.Identity{}, false
	}
	return c.secretKey, sigv4.Identity{AccessKey: c.accessKey, UserID: rootUserID, DisplayName: "root"}, true
}

// rootUserID is the canonical user id of the root user, the owner of all buckets.
const rootUserID = "726f6f740000000000000000000000000000000000000000000000000000726f"

// credentialsFromEnv reads KINTSUGI_ROOT_ACCESS_KEY and KINTSUGI_ROOT_SECRET_KEY, or the
// files that the same names with _FILE point to. Without any of them ok is false.
func credentialsFromEnv(getenv func(string) string) (c credentials, ok bool, err error) {
	if c.accessKey, err = envOrFile(getenv, "KINTSUGI_ROOT_ACCESS_KEY"); err != nil {
		return c, false, err
	}
	if c.secretKey, err = envOrFile(getenv, "KINTSUGI_ROOT_SECRET_KEY"); err != nil {
		return c, false, err
	}
	if c.accessKey == "" && c.secretKey == "" {
		return c, false, nil
	}
	c.source = "environment"
	return c, true, c.validate()
}

func envOrFile(getenv func(string) string, name string) (string, error) {
	value, file := getenv(name), getenv(name+"_FILE")
	if file == "" {
		return value, nil
	}
	if value != "" {
		return "", fmt.Errorf("%s and %s_FILE are both set: keep one", name, name)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	return strings.TrimSpace(string(data)), nil
}

func (c credentials) validate() error {
	if len(c.accessKey) < 3 || len(c.accessKey) > 128 || strings.ContainsAny(c.accessKey, "/=, \t\r\n") {
		return errors.New("root access key: want 3 to 128 characters without space, comma, slash or equals sign; set KINTSUGI_ROOT_ACCESS_KEY")
	}
	if len(c.secretKey) < 8 || len(c.secretKey) > 256 {
		return errors.New("root secret key: want 8 to 256 characters; set KINTSUGI_ROOT_SECRET_KEY")
	}
	return nil
}

// newCredentials makes an access key of 100 and a secret of 200 random bits.
func newCredentials() credentials {
	letters := base32.StdEncoding.WithPadding(base32.NoPadding)
	random := make([]byte, 13+25)
	rand.Read(random) // never fails
	return credentials{
		accessKey: letters.EncodeToString(random[:13])[:20],
		secretKey: strings.ToLower(letters.EncodeToString(random[13:])),
	}
}

// loadCredentials returns the first readable credentials among the drives; none gives fs.ErrNotExist.
func loadCredentials(dirs []string) (credentials, error) {
	worst := error(fs.ErrNotExist)
	for _, dir := range dirs {
		name := filepath.Join(dir, credentialsName)
		c, err := readCredentials(name)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			worst = fmt.Errorf("%s: %w", name, err)
		}
	}
	return credentials{}, worst
}

// credentialsKind is what the file is sealed as: a flipped bit must not become a wrong secret.
var credentialsKind = sealed.Kind{Name: "kintsugi-credentials", Version: 1}

// credentialsRecord is the content of the file.
type credentialsRecord struct{ AccessKey, SecretKey string }

func readCredentials(name string) (credentials, error) {
	var r credentialsRecord
	if err := credentialsKind.Read(name, &r); err != nil {
		return credentials{}, err
	}
	c := credentials{accessKey: r.AccessKey, secretKey: r.SecretKey, source: name}
	return c, c.validate()
}

// save writes c into the drive directory dir.
func (c credentials) save(dir string) error {
	return credentialsKind.Write(filepath.Join(dir, credentialsName), credentialsRecord{c.accessKey, c.secretKey})
}
