package metarpc

import "kintsugi/meta"

func (w *writer) part(p *meta.Part) {
	w.int(int64(p.Number))
	w.int(p.Size)
	w.string(p.ETag)
	w.time(p.Modified)
	w.checksum(&p.Checksum)
	w.blobs(p.Blobs)
}

func (r *reader) part() meta.Part {
	return meta.Part{
		Number: int(r.int()), Size: r.int(), ETag: r.string(), Modified: r.time(),
		Checksum: r.checksum(), Blobs: r.blobs(),
	}
}

func (w *writer) parts(parts []meta.Part) {
	w.uint(uint64(len(parts)))
	for i := range parts {
		w.part(&parts[i])
	}
}

func (r *reader) parts() []meta.Part {
	n := r.count(minPartSize)
	if n == 0 {
		return nil
	}
	parts := make([]meta.Part, n)
	for i := range parts {
		parts[i] = r.part()
	}
	return parts
}

func (w *writer) upload(u *meta.Upload) {
	w.string(u.Key)
	w.string(u.ID)
	w.time(u.Initiated)
	w.headers(&u.Headers)
	w.byte(byte(u.Algorithm))
	w.byte(flags(u.Composite))
}

func (r *reader) upload() meta.Upload {
	return meta.Upload{
		Key: r.string(), ID: r.string(), Initiated: r.time(), Headers: r.headers(),
		Algorithm: meta.ChecksumAlgorithm(r.byte()), Composite: r.byte()&1 != 0,
	}
}

// page writes a listing. The key of a version is the name of its entry.
func (w *writer) page(p *meta.ListPage) {
	w.b = make([]byte, 0, 16+160*len(p.Entries))
	w.byte(flags(p.More))
	w.uint(uint64(len(p.Entries)))
	for i := range p.Entries {
		e := &p.Entries[i]
		version := !e.IsPrefix && e.Upload == nil
		w.byte(flags(e.IsPrefix, version, e.Upload != nil) | marks(&e.Version)<<4)
		w.string(e.Name)
		if version {
			w.record(&e.Version)
		}
		if e.Upload != nil {
			w.upload(e.Upload)
		}
	}
}

func (r *reader) page() meta.ListPage {
	p := meta.ListPage{More: r.byte()&1 != 0}
	n := r.count(minEntrySize)
	if n == 0 {
		return p
	}
	p.Entries = make([]meta.ListEntry, 0, min(n, 1024)) // an entry is far larger here than on the wire
	for i := 0; i < n && !r.bad; i++ {
		p.Entries = append(p.Entries, r.entry())
	}
	return p
}

func (r *reader) entry() meta.ListEntry {
	f := r.byte()
	e := meta.ListEntry{IsPrefix: f&1 != 0, Name: r.string()}
	if f&2 != 0 {
		setMarks(&e.Version, f>>4)
		e.Version.Key = e.Name
		r.record(&e.Version)
	}
	if f&4 != 0 {
		u := r.upload()
		e.Upload = &u
	}
	return e
}

func (w *writer) garbage(p *meta.GarbagePage) {
	w.byte(flags(p.Pending))
	w.uint(uint64(len(p.Garbage)))
	for i := range p.Garbage {
		g := &p.Garbage[i]
		w.uint(g.Sequence)
		w.blob(&g.Blob)
		w.time(g.Queued)
	}
}

func (r *reader) garbage() meta.GarbagePage {
	p := meta.GarbagePage{Pending: r.byte()&1 != 0}
	if n := r.count(minGarbageSize); n > 0 {
		p.Garbage = make([]meta.Garbage, n)
	}
	for i := range p.Garbage {
		p.Garbage[i] = meta.Garbage{Sequence: r.uint(), Blob: r.blob(), Queued: r.time()}
	}
	return p
}
