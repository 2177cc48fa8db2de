package gateway

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// headers are the request's header fields, copied out of the connection's buffer
// in one piece: they stay valid whatever happens to the connection. Names are lower case.
type headers struct {
	fields []headerField
	marks  []int // ends of name and value, alternating, while copying
	bytes  []byte
}

type headerField struct{ name, value string }

// read replaces h by the fields of src.
func (h *headers) read(src *fasthttp.RequestHeader) {
	h.fields, h.marks, h.bytes = h.fields[:0], h.marks[:0], h.bytes[:0]
	for name, value := range src.All() {
		h.bytes = appendLower(h.bytes, name)
		h.marks = append(h.marks, len(h.bytes))
		h.bytes = append(h.bytes, value...)
		h.marks = append(h.marks, len(h.bytes))
	}
	text := string(h.bytes)
	for i, start := 0, 0; i < len(h.marks); i += 2 {
		name, value := h.marks[i], h.marks[i+1]
		h.fields = append(h.fields, headerField{text[start:name], text[name:value]})
		start = value
	}
}

func appendLower(dst, src []byte) []byte {
	for _, c := range src {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// get returns the first value of a field, "" if it is absent.
func (h *headers) get(name string) string {
	value, _ := h.lookup(name)
	return value
}

func (h *headers) has(name string) bool {
	_, ok := h.lookup(name)
	return ok
}

func (h *headers) lookup(name string) (string, bool) {
	for i := range h.fields {
		if h.fields[i].name == name {
			return h.fields[i].value, true
		}
	}
	return "", false
}

// Values returns every value of a field, in order.
func (h *headers) Values(lowerName string) []string {
	var values []string
	for i := range h.fields {
		if h.fields[i].name == lowerName {
			values = append(values, h.fields[i].value)
		}
	}
	return values
}

// Each calls f with every field, in order.
func (h *headers) Each(f func(name, value string)) {
	for i := range h.fields {
		f(h.fields[i].name, h.fields[i].value)
	}
}

// hasPrefix tells whether a field's name begins with prefix.
func (h *headers) hasPrefix(prefix string) bool {
	for i := range h.fields {
		if strings.HasPrefix(h.fields[i].name, prefix) {
			return true
		}
	}
	return false
}
