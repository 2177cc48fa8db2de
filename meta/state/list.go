package state

import (
	"bytes"
	"fmt"
	"strings"

	"kintsugi/meta"
	"kintsugi/meta/state/lsm"
)

// stepsBeforeSeek is how many records of a folded prefix are passed over one by one before
// the listing seeks behind it.
const stepsBeforeSeek = 8

// lister collects one group's share of a page.
type lister struct {
	*reader
	meta.ListQuery
	page   meta.ListPage
	folded string // the last common prefix that was met, listed or not
	steps  int    // records of it that were passed over
	record record // the one at work
}

// list answers a ListQuery.
func (r *reader) list(q meta.ListQuery) (meta.ListPage, error) {
	_, err := r.bucket(q.Bucket)
	if err != nil {
		return meta.ListPage{}, err
	}
	l := &lister{reader: r, ListQuery: q}
	l.page.Entries = make([]meta.ListEntry, 0, max(0, min(q.Max, 1000)))
	switch q.Kind {
	case meta.ListVersionsKind:
		err = l.versions()
	case meta.ListUploadsKind:
		err = l.walk(kindUpload, l.upload)
	default:
		err = l.walk(kindObject, l.object)
	}
	return l.page, err
}

// stream is an iterator over the records of one kind of a bucket, with their keys decoded.
type stream struct {
	l     *lister
	kind  byte
	head  []byte // what the keys begin with
	it    *lsm.Iterator
	ok    bool
	name  string // of the current record
	rest  []byte // of its key behind the name; valid until the stream moves
	plain bool   // names are not escaped
}

func (l *lister) stream(kind byte) *stream {
	head := nameKey(l.group, kind, l.Bucket, 0)
	return &stream{l: l, kind: kind, head: head, plain: kind == kindObject, it: l.store.Iterator(behind(head))}
}

// at returns the key under which names from name on begin.
func (s *stream) at(name string) []byte {
	k := bytes.Clone(s.head)
	if s.plain {
		return append(k, name...)
	}
	return appendEscaped(k, name)
}

// start seeks the first record that may be listed.
func (s *stream) start() error {
	from := s.at(s.l.Prefix)
	if s.l.After >= s.l.Prefix {
		if after := s.at(s.l.After); bytes.Compare(after, from) > 0 {
			from = after
		}
	}
	s.ok = s.it.Seek(from)
	return s.decode()
}

func (s *stream) next() error {
	s.ok = s.it.Next()
	return s.decode()
}

// skip seeks behind all names that begin with prefix.
func (s *stream) skip(prefix string) error {
	s.ok = s.it.Seek(behind(s.at(prefix)))
	return s.decode()
}

func (s *stream) decode() error {
	if !s.ok {
		return s.it.Err()
	}
	key := s.it.Key()[len(s.head):]
	if s.plain {
		s.name, s.rest = string(key), nil
	} else {
		var ok bool
		if s.name, s.rest, ok = cutEscaped(key); !ok {
			return fmt.Errorf("key of kind %c: %w", s.kind, meta.ErrCorrupt)
		}
	}
	if !strings.HasPrefix(s.name, s.l.Prefix) {
		s.ok = false // names come in order
	}
	return nil
}

// content returns the verified record.
func (s *stream) content() ([]byte, error) { return open(s.it.Key(), s.it.Value()) }

// full tells whether the page has all it may have, and notes that there is more.
func (l *lister) full() bool {
	l.page.More = len(l.page.Entries) >= l.Max
	return l.page.More
}

// fold deals with a name that belongs to a common prefix and tells whether it does.
func (l *lister) fold(name string) (prefix string, ok bool) {
	if l.Delimiter == "" {
		return "", false
	}
	i := strings.Index(name[len(l.Prefix):], l.Delimiter)
	if i < 0 {
		return "", false
	}
	return name[:len(l.Prefix)+i+len(l.Delimiter)], true
}

// met handles a record of a common prefix: the first one lists it. It tells whether to
// seek behind the prefix rather than to step on.
func (l *lister) met(prefix string) (seek bool) {
	if prefix != l.folded {
		l.folded, l.steps = prefix, 0
		if prefix > l.After {
			l.page.Entries = append(l.page.Entries, meta.ListEntry{Name: prefix, IsPrefix: true})
		}
	}
	l.steps++
	return l.steps%stepsBeforeSeek == 0
}

// walk lists the records of one kind. visit is called for those that are not folded.
func (l *lister) walk(kind byte, visit func(*stream) error) error {
	s := l.stream(kind)
	defer s.it.Close()
	err := s.start()
	for done := false; err == nil && s.ok && !done; {
		done, err = l.pass(s, visit)
	}
	return err
}

// pass deals with the current record and moves s on. It is done when the page has all it may have.
func (l *lister) pass(s *stream, visit func(*stream) error) (done bool, err error) {
	prefix, folded := l.fold(s.name)
	switch {
	case folded && prefix == l.folded && l.met(prefix):
		return false, s.skip(prefix)
	case folded && prefix == l.folded:
	case l.full():
		return true, nil
	case folded:
		l.met(prefix)
	default:
		if err := visit(s); err != nil {
			return false, err
		}
	}
	return false, s.next()
}

func (l *lister) object(s *stream) error {
	if s.name == l.After && l.After != "" {
		return nil
	}
	content, err := s.content()
	if err != nil {
		return err
	}
	return l.add(s.name, content, true)
}

func (l *lister) upload(s *stream) error {
	id := string(s.rest)
	if s.name == l.After && l.After != "" && (l.AfterUploadID == "" || id <= l.AfterUploadID) {
		return nil
	}
	content, err := s.content()
	if err != nil {
		return err
	}
	e := meta.ListEntry{Name: s.name, Upload: new(meta.Upload)}
	if err := l.unmarshal(content, e.Upload); err != nil {
		return err
	}
	e.Upload.Initiated = milliseconds(e.Upload.Initiated)
	l.page.Entries = append(l.page.Entries, e)
	return nil
}

// add lists a version. Where its bytes are does not belong into a listing.
func (l *lister) add(name string, content []byte, latest bool) error {
	l.record = record{}
	rec := &l.record
	if err := l.unmarshal(content, rec); err != nil {
		return err
	}
	rec.complete(name)
	rec.Version.IsLatest = latest
	rec.Version.Blobs, rec.Version.Parts = nil, nil
	l.page.Entries = append(l.page.Entries, meta.ListEntry{Name: name, Version: rec.Version})
	return nil
}
