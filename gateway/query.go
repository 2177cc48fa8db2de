package gateway

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// query is the decoded query string, in order. No name occurs twice.
type query []parameter

type parameter struct{ name, value string }

// parseQuery decodes a raw query string onto q. A name that occurs twice is
// refused: which one counts is a question that two parsers answer differently.
func parseQuery(q query, raw string) (query, error) {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := unescapeQuery(name)
		if err != nil {
			return q, err
		}
		if value, err = unescapeQuery(value); err != nil {
			return q, err
		}
		if q.has(name) {
			return q, errInvalidArgument.withMessage("A query parameter occurs more than once.").withField("ArgumentName", name)
		}
		q = append(q, parameter{name, value})
	}
	return q, nil
}

func unescapeQuery(s string) (string, error) {
	if strings.IndexByte(s, '%') >= 0 || strings.IndexByte(s, '+') >= 0 {
		var err error
		if s, err = url.QueryUnescape(s); err != nil {
			return "", errBadTarget
		}
	}
	if !utf8.ValidString(s) {
		return "", errBadTarget
	}
	return s, nil
}

// get returns the value of a parameter, "" if it is absent.
func (q query) get(name string) string {
	value, _ := q.lookup(name)
	return value
}

func (q query) has(name string) bool {
	_, ok := q.lookup(name)
	return ok
}

func (q query) lookup(name string) (string, bool) {
	for i := range q {
		if q[i].name == name {
			return q[i].value, true
		}
	}
	return "", false
}
