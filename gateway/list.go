package gateway

import (
	"strconv"

	"kintsugi/gateway/checksum"
	"kintsugi/meta"
)

// maxPage is the most entries of a page.
const maxPage = 1000

// listQuery are the parameters that all listings share.
type listQuery struct {
	prefix, delimiter string
	limit             int
	encode            bool // encoding-type=url
}

func (r *request) parseListQuery(limitName string) (l listQuery, err error) {
	l.prefix, l.delimiter = r.query.get("prefix"), r.query.get("delimiter")
	if l.limit, err = pageLimit(r.query.get(limitName), limitName); err != nil {
		return l, err
	}
	switch encoding := r.query.get("encoding-type"); encoding {
	case "":
	case "url":
		l.encode = true
	default:
		return l, errInvalidArgument.withMessage("Invalid Encoding Method specified in Request").
			withField("ArgumentName", "encoding-type").withField("ArgumentValue", encoding)
	}
	return l, nil
}

// pageLimit reads the wanted number of entries; more than maxPage is the same as maxPage.
func pageLimit(text, name string) (int, error) {
	n, err := parseCount(text, name, maxPage)
	return min(n, maxPage), err
}

// parseCount reads a number that is not negative, from the parameter or header of this name; without text it is unset.
func parseCount(text, name string, unset int) (int, error) {
	if text == "" {
		return unset, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, errInvalidArgument.withMessage("Provided "+name+" not an integer or within integer range").
			withField("ArgumentName", name).withField("ArgumentValue", text)
	}
	return int(n), nil
}

// name writes an element that names a key, prefix or delimiter.
func (l *listQuery) name(d *document, element, value string) {
	if !l.encode {
		d.text(element, value)
		return
	}
	d.open(element)
	d.buf = appendURLEncoded(d.buf, value)
	d.close(element)
}

func (l *listQuery) nameIf(d *document, element, value string) {
	if value != "" {
		l.name(d, element, value)
	}
}

// head writes the elements that lead every listing.
func (l *listQuery) head(d *document, bucket string) {
	d.text("Name", bucket)
	l.name(d, "Prefix", l.prefix)
	l.nameIf(d, "Delimiter", l.delimiter)
	if l.encode {
		d.text("EncodingType", "url")
	}
}

func (l *listQuery) prefixes(d *document, prefixes []string) {
	for _, prefix := range prefixes {
		d.open("CommonPrefixes")
		l.name(d, "Prefix", prefix)
		d.close("CommonPrefixes")
	}
}

// check refuses to write a name that XML cannot carry; with encoding-type=url all can be listed.
func (l *listQuery) check(name string) error {
	if l.encode || representable(name) {
		return nil
	}
	return errInvalidArgument.withMessage("A listed key contains characters that XML cannot represent. Ask with encoding-type=url.").
		withField("ArgumentName", "encoding-type")
}

// appendURLEncoded appends s with everything but unreserved characters and "/" escaped.
func appendURLEncoded(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~', c == '/':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// listPage asks for a page of the bucket's objects.
func (r *request) listPage(l *listQuery, after string) (meta.Listing, error) {
	ctx, cancel := r.context()
	defer cancel()
	consistency, err := r.listedBucket(ctx)
	if err != nil {
		return meta.Listing{}, err
	}
	page, err := r.server.config.Meta.Objects(ctx, meta.ListObjects{
		Bucket: r.bucket, Prefix: l.prefix, Delimiter: l.delimiter, After: after, Max: l.limit,
		Consistency: consistency,
	})
	if err != nil {
		return page, err
	}
	for i := range page.Objects {
		if err := l.check(page.Objects[i].Key); err != nil {
			return page, err
		}
	}
	for _, prefix := range page.Prefixes {
		if err := l.check(prefix); err != nil {
			return page, err
		}
	}
	return page, nil
}

// listObjects is the first version of the operation: pages are continued by a key.
func (r *request) listObjects() error {
	l, err := r.parseListQuery("max-keys")
	if err != nil {
		return err
	}
	marker := r.query.get("marker")
	page, err := r.listPage(&l, marker)
	if err != nil {
		return err
	}
	d := newDocument("ListBucketResult")
	l.head(d, r.bucket)
	l.name(d, "Marker", marker)
	d.int("MaxKeys", int64(l.limit))
	d.bool("IsTruncated", page.Truncated)
	if page.Truncated {
		l.name(d, "NextMarker", page.Next)
	}
	r.contents(d, &l, page.Objects, true)
	l.prefixes(d, page.Prefixes)
	d.close("ListBucketResult")
	return r.listing(d)
}

// listObjectsV2 continues pages by an opaque token.
func (r *request) listObjectsV2() error {
	if kind := r.query.get("list-type"); kind != "2" {
		return errInvalidArgument.withMessage("Invalid List Type specified in Request").
			withField("ArgumentName", "list-type").withField("ArgumentValue", kind)
	}
	l, err := r.parseListQuery("max-keys")
	if err != nil {
		return err
	}
	start := r.query.get("start-after")
	after, err := parseToken(r.query)
	if err != nil {
		return err
	}
	token := r.query.get("continuation-token")
	if token == "" {
		after = start
	}
	page, err := r.listPage(&l, after)
	if err != nil {
		return err
	}
	d := newDocument("ListBucketResult")
	l.head(d, r.bucket)
	d.int("MaxKeys", int64(l.limit))
	d.int("KeyCount", int64(len(page.Objects)+len(page.Prefixes)))
	l.nameIf(d, "StartAfter", start)
	d.textIf("ContinuationToken", token)
	d.bool("IsTruncated", page.Truncated)
	if page.Truncated {
		d.text("NextContinuationToken", formatToken(page.Next))
	}
	r.contents(d, &l, page.Objects, r.query.get("fetch-owner") == "true")
	l.prefixes(d, page.Prefixes)
	d.close("ListBucketResult")
	return r.listing(d)
}

// listing answers with a page.
func (r *request) listing(d *document) error {
	err := r.document(200, d)
	r.ctx.Response.Header.Set("x-amz-bucket-region", r.server.config.Region)
	return err
}

func (r *request) contents(d *document, l *listQuery, objects []meta.Version, owner bool) {
	for i := range objects {
		d.open("Contents")
		l.name(d, "Key", objects[i].Key)
		r.entry(d, &objects[i], owner)
		d.close("Contents")
	}
}

// entry writes what all listings tell of a version.
func (r *request) entry(d *document, v *meta.Version, owner bool) {
	d.time("LastModified", v.Modified)
	d.etag(v.ETag)
	if v.Checksum.Algorithm != meta.NoChecksum {
		d.text("ChecksumAlgorithm", checksum.Name(v.Checksum.Algorithm))
		d.text("ChecksumType", checksum.Type(v.Checksum))
	}
	d.int("Size", v.Size)
	if owner {
		r.ownerElement(d)
	}
	d.text("StorageClass", storageClass(v.Headers.StorageClass))
}

func storageClass(class string) string {
	if class == "" {
		return "STANDARD"
	}
	return class
}
