package metarpc

import "kintsugi/meta"

// The hot records. A number is a varint, signed where marked ±; a time is Unix milliseconds ±; bytes and text have
// their length in front, lists and maps their count. Flags are bits of a byte, the lowest first.
//
//	object     flags (body, version), bucket, key, [version]
//	version    flags (marker, inline, latest, versioned), consistency of the bucket (1 byte), key, record
//	record     length, then: id, sequence, size ±, etag, modified, checksum, headers, blobs, parts, request, upload
//	checksum   algorithm (1 byte); unless 0: flags (composite), value
//	headers    count of the texts, then: type, encoding, disposition, language, cache, expires, redirect, class;
//	           user, tags
//	blob       id (16 bytes), size ±, chunk size ±, runs
//	run        chunks, k (1), m (1), epoch, attempt (1)
//	part       number ±, size ±, etag, modified, checksum, blobs
//	upload     key, id, initiated, headers, algorithm (1), flags (composite)
//	page       flags (more), entries
//	entry      flags (prefix, version, upload, and those of version from bit 4 on), name, [record], [upload]
//	garbage    flags (pending), then for each: sequence, blob, queued
//
// What follows the fields of a record within its length is of a later version and is passed over.

// Sizes below which no element is, for bounds: bytes.
const (
	minBlobSize    = 19
	minRunSize     = 5
	minPartSize    = 6
	minEntrySize   = 2
	minGarbageSize = minBlobSize + 2
)

func (w *writer) getObject(q *meta.GetObject) {
	w.byte(flags(q.Body, q.Version != nil))
	w.string(q.Bucket)
	w.string(q.Key)
	if q.Version != nil {
		w.uint(uint64(*q.Version))
	}
}

func (r *reader) getObject() meta.GetObject {
	f := r.byte()
	q := meta.GetObject{Body: f&1 != 0, Bucket: r.string(), Key: r.string()}
	if f&2 != 0 {
		id := meta.VersionID(r.uint())
		q.Version = &id
	}
	return q
}

// marks of a version, which are not in its record.
func marks(v *meta.Version) byte { return flags(v.DeleteMarker, v.Inline, v.IsLatest, v.Versioned) }

func setMarks(v *meta.Version, f byte) {
	v.DeleteMarker, v.Inline, v.IsLatest, v.Versioned = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0
}

func (w *writer) version(v *meta.Version) {
	w.byte(marks(v))
	w.byte(byte(v.BucketConsistency))
	w.string(v.Key)
	w.record(v)
}

func (r *reader) version() meta.Version {
	var v meta.Version
	setMarks(&v, r.byte())
	v.BucketConsistency = meta.Consistency(r.byte())
	v.Key = r.string()
	r.record(&v)
	return v
}

func (w *writer) record(v *meta.Version) {
	sub := writer{b: w.scratch[:0]}
	sub.uint(uint64(v.ID))
	sub.uint(v.Sequence)
	sub.int(v.Size)
	sub.string(v.ETag)
	sub.time(v.Modified)
	sub.checksum(&v.Checksum)
	sub.headers(&v.Headers)
	sub.blobs(v.Blobs)
	sub.parts(v.Parts)
	sub.string(v.RequestID)
	sub.string(v.UploadID)
	w.bytes(sub.b)
	w.scratch = sub.b
}

func (r *reader) record(v *meta.Version) {
	sub := reader{rest: r.string()}
	v.ID = meta.VersionID(sub.uint())
	v.Sequence = sub.uint()
	v.Size = sub.int()
	v.ETag = sub.string()
	v.Modified = sub.time()
	v.Checksum = sub.checksum()
	v.Headers = sub.headers()
	v.Blobs = sub.blobs()
	v.Parts = sub.parts()
	v.RequestID = sub.string()
	v.UploadID = sub.string()
	r.bad = r.bad || sub.bad
}

func (w *writer) checksum(c *meta.Checksum) {
	w.byte(byte(c.Algorithm))
	if c.Algorithm != meta.NoChecksum {
		w.byte(flags(c.Composite))
		w.bytes(c.Value)
	}
}

func (r *reader) checksum() meta.Checksum {
	c := meta.Checksum{Algorithm: meta.ChecksumAlgorithm(r.byte())}
	if c.Algorithm != meta.NoChecksum {
		c.Composite = r.byte()&1 != 0
		c.Value = r.bytes()
	}
	return c
}

// texts are the headers of one value, in the order of the format.
func texts(h *meta.Headers) [8]*string {
	return [...]*string{
		&h.ContentType, &h.ContentEncoding, &h.ContentDisposition, &h.ContentLanguage,
		&h.CacheControl, &h.Expires, &h.WebsiteRedirect, &h.StorageClass,
	}
}

func (w *writer) headers(h *meta.Headers) {
	all := texts(h)
	n := len(all)
	for n > 0 && *all[n-1] == "" {
		n--
	}
	w.uint(uint64(n))
	for _, text := range all[:n] {
		w.string(*text)
	}
	w.strings(h.User)
	w.strings(h.Tags)
}

func (r *reader) headers() meta.Headers {
	var h meta.Headers
	all := texts(&h)
	n := r.count(1)
	for i := range n {
		text := r.string()
		if i < len(all) {
			*all[i] = text
		}
	}
	h.User = r.strings()
	h.Tags = r.strings()
	return h
}

func (w *writer) blob(b *meta.Blob) {
	w.b = append(w.b, b.ID[:]...)
	w.int(b.Size)
	w.int(b.ChunkSize)
	w.uint(uint64(len(b.Runs)))
	for i := range b.Runs {
		run := &b.Runs[i]
		w.uint(uint64(run.Chunks))
		w.b = append(w.b, run.K, run.M)
		w.uint(run.Epoch)
		w.byte(run.Attempt)
	}
}

func (r *reader) blob() meta.Blob {
	var b meta.Blob
	copy(b.ID[:], r.take(uint64(len(b.ID))))
	b.Size = r.int()
	b.ChunkSize = r.int()
	if n := r.count(minRunSize); n > 0 {
		b.Runs = make([]meta.Run, n)
	}
	for i := range b.Runs {
		b.Runs[i] = meta.Run{Chunks: uint32(r.uint()), K: r.byte(), M: r.byte(), Epoch: r.uint(), Attempt: r.byte()}
	}
	return b
}

func (w *writer) blobs(blobs []meta.Blob) {
	w.uint(uint64(len(blobs)))
	for i := range blobs {
		w.blob(&blobs[i])
	}
}

func (r *reader) blobs() []meta.Blob {
	n := r.count(minBlobSize)
	if n == 0 {
		return nil
	}
	blobs := make([]meta.Blob, n)
	for i := range blobs {
		blobs[i] = r.blob()
	}
	return blobs
}
