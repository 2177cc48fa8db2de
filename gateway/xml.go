package gateway

import (
	"bytes"
	"encoding/xml"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	xmlHeader    = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	xmlNamespace = "http://s3.amazonaws.com/doc/2006-03-01/"

	// maxConfigBytes bounds a request document, maxListBytes one that names up to 1,000
	// keys or 10,000 parts.
	maxConfigBytes = 64 << 10
	maxListBytes   = 4 << 20

	maxXMLDepth = 32
)

// document builds a response body by appending. Elements are written without reflection:
// a listing has thousands of them.
type document struct{ buf []byte }

// maxPooledDocument keeps one huge listing from occupying the pool for ever.
const maxPooledDocument = 1 << 20

var documents = sync.Pool{New: func() any { return new(document) }}

// newDocument begins a document with its root element in S3's namespace. Who takes it gives
// it to request.document or calls free.
func newDocument(root string) *document {
	d := documents.Get().(*document)
	d.buf = append(d.buf[:0], xmlHeader...)
	d.buf = append(d.buf, '<')
	d.buf = append(d.buf, root...)
	d.buf = append(d.buf, ` xmlns="`+xmlNamespace+`">`...)
	return d
}

func (d *document) free() {
	if cap(d.buf) <= maxPooledDocument {
		documents.Put(d)
	}
}

func (d *document) open(name string) {
	d.buf = append(d.buf, '<')
	d.buf = append(d.buf, name...)
	d.buf = append(d.buf, '>')
}

func (d *document) close(name string) {
	d.buf = append(d.buf, '<', '/')
	d.buf = append(d.buf, name...)
	d.buf = append(d.buf, '>')
}

// text writes an element with a text of any characters.
func (d *document) text(name, value string) {
	d.open(name)
	d.buf = appendEscaped(d.buf, value)
	d.close(name)
}

// textIf writes the element unless value is empty.
func (d *document) textIf(name, value string) {
	if value != "" {
		d.text(name, value)
	}
}

func (d *document) int(name string, value int64) {
	d.open(name)
	d.buf = strconv.AppendInt(d.buf, value, 10)
	d.close(name)
}

func (d *document) bool(name string, value bool) {
	d.open(name)
	d.buf = strconv.AppendBool(d.buf, value)
	d.close(name)
}

// etag writes an ETag with the quotes that belong to it.
func (d *document) etag(value string) {
	d.buf = append(d.buf, "<ETag>&quot;"...)
	d.buf = appendEscaped(d.buf, value)
	d.buf = append(d.buf, "&quot;</ETag>"...)
}

// time writes t in the whole seconds that the Last-Modified header has, so that
// both name the same instant.
func (d *document) time(name string, t time.Time) {
	d.open(name)
	d.buf = appendTime(d.buf, t)
	d.close(name)
}

func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = append(dst, byte('0'+year/1000%10), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10), '-')
	dst = append(dst, byte('0'+month/10), byte('0'+month%10), '-', byte('0'+day/10), byte('0'+day%10), 'T')
	dst = append(dst, byte('0'+hour/10), byte('0'+hour%10), ':', byte('0'+minute/10), byte('0'+minute%10), ':')
	return append(dst, byte('0'+second/10), byte('0'+second%10), '.', '0', '0', '0', 'Z')
}

// escapes holds the replacement of each byte that may not stand in a text as it is.
var escapes = func() (table [256]string) {
	for c := range 0x20 {
		table[c] = "\uFFFD" // XML 1.0 has no way to write it
	}
	table['\t'], table['\n'], table['\r'] = "&#x9;", "&#xA;", "&#xD;"
	table['"'], table['\''], table['&'], table['<'], table['>'] = "&quot;", "&apos;", "&amp;", "&lt;", "&gt;"
	return table
}()

// appendEscaped appends s as XML text. s is UTF-8: everything that gets here was checked when it came in.
func appendEscaped(dst []byte, s string) []byte {
	start := 0
	for i := range len(s) {
		escape, size := escapes[s[i]], 1
		if s[i] == 0xEF && isNoncharacter(s[i:]) {
			escape, size = "\uFFFD", len("\uFFFE")
		}
		if escape != "" {
			dst = append(dst, s[start:i]...)
			dst = append(dst, escape...)
			start = i + size
		}
	}
	return append(dst, s[start:]...)
}

// isNoncharacter tells whether s begins with one of the two code points above the controls that XML excludes.
func isNoncharacter(s string) bool {
	return strings.HasPrefix(s, "\uFFFE") || strings.HasPrefix(s, "\uFFFF")
}

// representable tells whether XML 1.0 can carry s.
func representable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0xEF && isNoncharacter(s[i:]) {
			return false
		}
	}
	return true
}

// parseXML decodes a request document. There is no DTD, no entity but XML's own five,
// bounded depth, and no element twice beside itself unless its name is in repeated.
func parseXML(data []byte, v any, repeated ...string) error {
	if !utf8.Valid(data) || checkXML(data, repeated) != nil {
		return errMalformedXML
	}
	if err := xml.Unmarshal(data, v); err != nil {
		return errMalformedXML
	}
	return nil
}

// checkXML walks the document once for what encoding/xml would let pass.
func checkXML(data []byte, repeated []string) error {
	decoder := xml.NewDecoder(bytes.NewReader(data))
	siblings := []map[string]bool{{}} // the names seen so far, by depth
	for {
		token, err := decoder.RawToken()
		if err == io.EOF && len(siblings) == 1 && len(siblings[0]) == 1 {
			return nil
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.Directive:
			return errMalformedXML
		case xml.ProcInst:
			if token.Target != "xml" {
				return errMalformedXML
			}
		case xml.CharData:
			if len(siblings) == 1 && len(bytes.TrimSpace(token)) > 0 {
				return errMalformedXML
			}
		case xml.StartElement:
			if err := enterElement(siblings, token.Name.Local, repeated); err != nil {
				return err
			}
			siblings = append(siblings, map[string]bool{})
		case xml.EndElement:
			if len(siblings) == 1 {
				return errMalformedXML
			}
			siblings = siblings[:len(siblings)-1]
		}
	}
}

func enterElement(siblings []map[string]bool, name string, repeated []string) error {
	seen := siblings[len(siblings)-1]
	if len(siblings) > maxXMLDepth || len(siblings) == 1 && len(seen) > 0 {
		return errMalformedXML
	}
	if seen[name] {
		for _, r := range repeated {
			if r == name {
				return nil
			}
		}
		return errMalformedXML
	}
	seen[name] = true
	return nil
}
