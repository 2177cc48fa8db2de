package sigv4

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unsafe"
)

// span is a query parameter within scratch.escaped.
type span struct{ start, middle, end int }

// loadQuery splits, decodes, escapes anew and sorts the query: the canonical form
// does not depend on what the client chose to escape.
func (s *scratch) loadQuery(query string) error {
	s.escaped, s.spans = s.escaped[:0], s.spans[:0]
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		if len(s.spans) == maxParams {
			return fail(InvalidRequest, "The request has too many query parameters.")
		}
		name, value, _ := strings.Cut(pair, "=")
		var p span
		p.start = len(s.escaped)
		s.escaped = appendEscaped(s.escaped, name, true)
		p.middle = len(s.escaped)
		s.escaped = appendEscaped(s.escaped, value, true)
		p.end = len(s.escaped)
		s.spans = append(s.spans, p)
	}
	// The strings alias the buffer, which is not written to again before release.
	all := unsafe.String(unsafe.SliceData(s.escaped), len(s.escaped))
	for _, p := range s.spans {
		s.params = append(s.params, field{name: all[p.start:p.middle], value: all[p.middle:p.end]})
	}
	slices.SortFunc(s.params, func(a, b field) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	return nil
}

const upperHex = "0123456789ABCDEF"

// appendEscaped appends in, decoded once and escaped as SigV4 wants it: all but unreserved
// characters. In a query '+' is a space; in a path '/' separates and %2F is kept apart from it.
func appendEscaped(dst []byte, in string, query bool) []byte {
	for i := 0; i < len(in); i++ {
		c := in[i]
		escaped := false
		if c == '%' && i+2 < len(in) && isHex(in[i+1]) && isHex(in[i+2]) {
			c, escaped = unhex(in[i+1])<<4|unhex(in[i+2]), true
			i += 2
		}
		switch {
		case unreserved(c), c == '/' && !query && !escaped:
			dst = append(dst, c)
		case c == '+' && query && !escaped:
			dst = append(dst, "%20"...)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// canonicalPath escapes a raw path the one canonical way.
func canonicalPath(path string) string {
	return string(appendEscaped(make([]byte, 0, len(path)+16), path, false))
}

// unescape decodes what appendEscaped wrote.
func unescape(in string) string {
	if strings.IndexByte(in, '%') < 0 {
		return in
	}
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); i++ {
		c := in[i]
		if c == '%' {
			c = unhex(in[i+1])<<4 | unhex(in[i+2])
			i += 2
		}
		out = append(out, c)
	}
	return string(out)
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}

// canonicalRequest writes the canonical form of r with path in its place.
func (s *scratch) canonicalRequest(r *Request, c *claim, path string) {
	if path == "" {
		path = "/"
	}
	b := append(s.canonical[:0], r.Method...)
	b = append(b, '\n')
	b = append(b, path...)
	b = append(b, '\n')
	first := true
	for _, p := range s.params {
		if c.presigned && p.name == "X-Amz-Signature" {
			continue
		}
		if !first {
			b = append(b, '&')
		}
		first = false
		b = append(b, p.name...)
		b = append(b, '=')
		b = append(b, p.value...)
	}
	b = append(b, '\n')
	for name := range strings.SplitSeq(c.signed, ";") {
		b = append(b, name...)
		b = append(b, ':')
		b = s.appendHeader(b, r, name)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = append(b, c.signed...)
	b = append(b, '\n')
	s.canonical = append(b, c.payload...)
}

// appendHeader appends the values of a header, joined with commas.
func (s *scratch) appendHeader(b []byte, r *Request, name string) []byte {
	if name == "host" {
		return append(b, r.Host...)
	}
	first := true
	for i := range s.headers {
		if !strings.EqualFold(s.headers[i].name, name) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendTrimmed(b, s.headers[i].value)
	}
	return b
}

// appendTrimmed appends value without surrounding spaces and with runs of spaces made one.
func appendTrimmed(b []byte, value string) []byte {
	value = strings.Trim(value, " \t")
	for i := 0; i < len(value); i++ {
		if value[i] == ' ' && i > 0 && value[i-1] == ' ' {
			continue
		}
		b = append(b, value[i])
	}
	return b
}

// stringToSign writes what the signature is computed of, from the canonical request.
func (s *scratch) stringToSign(c *claim) {
	sum := sha256.Sum256(s.canonical)
	b := append(s.toSign[:0], algorithm+"\n"...)
	b = append(b, c.time...)
	b = append(b, '\n')
	b = append(b, c.date...)
	b = append(b, '/')
	b = append(b, c.region...)
	b = append(b, '/')
	b = append(b, c.service...)
	b = append(b, "/"+terminator+"\n"...)
	s.toSign = hex.AppendEncode(b, sum[:])
}
