package sigv4

import (
	"slices"
	"strings"
	"sync"
)

// Bounds on what a request may make the verifier look at.
const (
	maxHeaders = 1024
	maxParams  = 1024
	maxScratch = 64 << 10 // bytes of buffer that go back to the pool
)

// field is a header line or a decoded query parameter.
type field struct {
	name, value string
	covered     bool // by the signature
}

// scratch is the working memory of one authentication.
type scratch struct {
	headers   []field
	params    []field // in canonical order, still escaped the canonical way
	escaped   []byte  // backs params
	spans     []span
	canonical []byte
	toSign    []byte
	given     []byte
	sum       [32]byte
	hex       [64]byte
	parsed    claim
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func newScratch() *scratch { return scratches.Get().(*scratch) }

// release forgets the request, whose strings may be overwritten, and keeps the buffers.
func (s *scratch) release() {
	clear(s.headers)
	clear(s.params)
	s.headers, s.params = s.headers[:0], s.params[:0]
	s.parsed = claim{}
	if cap(s.canonical) <= maxScratch && cap(s.escaped) <= maxScratch {
		scratches.Put(s)
	}
}

// load reads headers and query, and refuses what is ambiguous: a line that says
// who signed or what is to be done must not come twice.
func (s *scratch) load(r *Request) error {
	r.Each(func(name, value string) {
		if len(s.headers) <= maxHeaders && !strings.EqualFold(name, "host") {
			s.headers = append(s.headers, field{name: name, value: value})
		}
	})
	if len(s.headers) > maxHeaders {
		return fail(InvalidRequest, "The request has too many headers.")
	}
	for i, h := range s.headers {
		if !unique(h.name) {
			continue
		}
		for _, other := range s.headers[:i] {
			if strings.EqualFold(h.name, other.name) {
				return fail(InvalidRequest, "The header "+strings.ToLower(h.name)+" was sent more than once.")
			}
		}
	}
	if err := s.loadQuery(r.Query); err != nil {
		return err
	}
	for i := 1; i < len(s.params); i++ {
		if name := s.params[i].name; hasPrefixFold(name, amzPrefix) && s.params[i-1].name == name {
			return fail(InvalidRequest, "The query parameter "+strings.Clone(name)+" was sent more than once.")
		}
	}
	return nil
}

// unique tells whether a header may come only once. User metadata and lists, of which
// some libraries send every item on its own line, are joined instead.
func unique(name string) bool {
	return strings.EqualFold(name, "authorization") ||
		hasPrefixFold(name, amzPrefix) && !hasPrefixFold(name, metaPrefix) &&
			!strings.EqualFold(name, "x-amz-object-attributes") && !strings.EqualFold(name, "x-amz-optional-object-attributes")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// header returns the first value of a header, "" if there is none.
func (s *scratch) header(name string) string {
	for i := range s.headers {
		if strings.EqualFold(s.headers[i].name, name) {
			return strings.TrimSpace(s.headers[i].value)
		}
	}
	return ""
}

// param returns a query parameter, decoded.
func (s *scratch) param(name string) (string, bool) {
	i, ok := slices.BinarySearchFunc(s.params, name, func(p field, name string) int { return strings.Compare(p.name, name) })
	if !ok {
		return "", false
	}
	return unescape(s.params[i].value), true
}

// cover marks the headers that the signature covers and returns the name of one that it must
// cover and does not: host and all that begin with x-amz-.
func (s *scratch) cover(signed string) string {
	host := false
	for name := range strings.SplitSeq(signed, ";") {
		host = host || name == "host"
		for i := range s.headers {
			if strings.EqualFold(s.headers[i].name, name) {
				s.headers[i].covered = true
			}
		}
	}
	if !host {
		return "host"
	}
	for _, h := range s.headers {
		if !h.covered && hasPrefixFold(h.name, amzPrefix) {
			return strings.Clone(strings.ToLower(h.name))
		}
	}
	return ""
}

// securityToken tells whether the request carries the token of temporary credentials.
func (s *scratch) securityToken(presigned bool) bool {
	if _, ok := s.param("X-Amz-Security-Token"); ok && presigned {
		return true
	}
	return s.header("x-amz-security-token") != ""
}
