package gateway

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxKeyBytes is S3's bound on the UTF-8 bytes of a key.
const maxKeyBytes = 1024

var (
	errBadTarget = errors.New("request target is not valid")
	errLongKey   = errors.New("key is longer than 1024 bytes")
)

// target is what the request line and the Host header name. The same bucket and
// key are authorised and used: nothing decodes or cleans them a second time.
type target struct {
	path     string // raw, as it is signed
	rawQuery string // as it is signed
	bucket   string
	key      string
}

// parseTarget splits the raw request target. The path is cut before it is
// decoded, and decoded once, so that an escaped slash stays within the key and
// dots are bytes like any other.
func parseTarget(uri, host string, domains []string) (target, error) {
	uri, err := originForm(uri, host)
	if err != nil {
		return target{}, err
	}
	var t target
	t.path, t.rawQuery, _ = strings.Cut(uri, "?")
	rest := t.path[1:]
	if bucket, ok := virtualBucket(host, domains); ok {
		t.bucket = bucket
	} else {
		var raw string
		raw, rest, _ = strings.Cut(rest, "/")
		if t.bucket, err = unescapePath(raw); err != nil {
			return t, err
		}
		if raw == "" && rest != "" {
			return t, errBadTarget // "//key" names no bucket
		}
	}
	if t.key, err = unescapePath(rest); err != nil {
		return t, err
	}
	if len(t.key) > maxKeyBytes {
		return t, errLongKey
	}
	return t, nil
}

// originForm strips scheme and authority from an absolute target, which must
// name the host that the Host header names: only that one is signed.
func originForm(uri, host string) (string, error) {
	if strings.HasPrefix(uri, "/") {
		return uri, nil
	}
	_, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return "", errBadTarget
	}
	authority, path, ok := strings.Cut(rest, "/")
	if !ok || !strings.EqualFold(authority, host) {
		return "", errBadTarget
	}
	return "/" + path, nil
}

// virtualBucket returns the bucket that the host names in front of one of our domains.
func virtualBucket(host string, domains []string) (string, bool) {
	if len(domains) == 0 {
		return "", false
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	host = strings.ToLower(host)
	for _, domain := range domains {
		if bucket, ok := strings.CutSuffix(host, "."+domain); ok && bucket != "" {
			return bucket, true
		}
	}
	return "", false
}

// unescapePath decodes percent escapes once; anything that is not UTF-8 then is refused.
func unescapePath(raw string) (string, error) {
	s := raw
	if strings.IndexByte(raw, '%') >= 0 {
		var err error
		if s, err = url.PathUnescape(raw); err != nil {
			return "", errBadTarget
		}
	}
	if !utf8.ValidString(s) {
		return "", errBadTarget
	}
	return s, nil
}
