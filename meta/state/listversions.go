package state

import (
	"encoding/binary"
	"math"

	"kintsugi/meta"
)

// versions lists the current versions and the others, merged: by key, the current one first.
func (l *lister) versions() error {
	resume, err := l.resume()
	if err != nil {
		return err
	}
	objects, others := l.stream(kindObject), l.stream(kindVersion)
	defer objects.it.Close()
	defer others.it.Close()
	err = objects.start()
	if err == nil {
		err = others.start()
	}
	last := "" // the key whose newest version was met
	met := false
	visit := func(s *stream) error {
		latest := !met || s.name != last
		last, met = s.name, true
		return l.version(s, latest, resume)
	}
	for done := false; err == nil && (objects.ok || others.ok) && !done; {
		s := objects
		if !objects.ok || others.ok && others.name < objects.name {
			s = others
		}
		done, err = l.pass(s, visit)
	}
	return err
}

// version lists a record unless the marker is at or behind it.
func (l *lister) version(s *stream, latest bool, resume uint64) error {
	content, err := s.content()
	if err != nil {
		return err
	}
	if s.name == l.After && l.After != "" {
		sequence, err := l.sequence(s, content)
		if err != nil || sequence >= resume {
			return err
		}
	}
	return l.add(s.name, content, latest)
}

func (l *lister) sequence(s *stream, content []byte) (uint64, error) {
	if s.kind == kindVersion && len(s.rest) == 8 {
		return ^binary.BigEndian.Uint64(s.rest), nil
	}
	var rec record
	err := l.unmarshal(content, &rec)
	return rec.Version.Sequence, err
}

// resume returns the sequence below which the versions of the key After are listed; 0: none of them. If
// the version of the marker is gone and its place with it, the key is listed again rather than cut short.
func (l *lister) resume() (uint64, error) {
	if l.AfterVersion == nil {
		return 0, nil
	}
	id := *l.AfterVersion
	if id != meta.NullVersion {
		return uint64(id), nil
	}
	cur, err := l.current(l.Bucket, l.After)
	if err != nil {
		return 0, err
	}
	if cur != nil && cur.Version.ID == id {
		return cur.Version.Sequence, nil
	}
	old, err := l.older(l.Bucket, l.After, id)
	if err != nil || old == nil {
		return math.MaxUint64, err
	}
	return old.Version.Sequence, nil
}
