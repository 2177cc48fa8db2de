package gateway

import (
	"strings"

	"kintsugi/meta"
)

// attributes are those that GetObjectAttributes may be asked for.
type attributes struct {
	etag, checksum, parts, class, size bool
}

// getAttributes tells of an object without its bytes.
func (r *request) getAttributes() error {
	wanted, err := r.parseAttributes()
	if err != nil {
		return err
	}
	limit, marker, err := r.attributePage()
	if err != nil {
		return err
	}
	v, err := r.object()
	if err != nil {
		return err
	}
	d := newDocument("GetObjectAttributesResponse")
	if wanted.etag {
		d.text("ETag", v.ETag) // without quotes, here alone
	}
	if wanted.checksum && v.Checksum.Algorithm != meta.NoChecksum {
		d.open("Checksum")
		d.checksum(v.Checksum, len(v.Parts))
		d.checksumType(v.Checksum)
		d.close("Checksum")
	}
	if wanted.parts && len(v.Parts) > 0 {
		d.objectParts(v.Parts, marker, limit)
	}
	if wanted.class {
		d.text("StorageClass", storageClass(v.Headers.StorageClass))
	}
	if wanted.size {
		d.int("ObjectSize", v.Size)
	}
	d.close("GetObjectAttributesResponse")
	err = r.document(200, d)
	r.ctx.Response.Header.Set("Last-Modified", httpDate(v.Modified.UnixMilli()))
	r.setVersion(v.ID, v.Versioned)
	return err
}

// parseAttributes reads the list of wanted attributes.
func (r *request) parseAttributes() (a attributes, err error) {
	flags := map[string]*bool{
		"ETag": &a.etag, "Checksum": &a.checksum, "ObjectParts": &a.parts, "StorageClass": &a.class, "ObjectSize": &a.size,
	}
	for _, line := range r.headers.Values("x-amz-object-attributes") {
		for name := range strings.SplitSeq(line, ",") {
			flag := flags[strings.TrimSpace(name)]
			if flag == nil {
				return a, errInvalidArgument.withMessage("Invalid attribute name specified.").
					withField("ArgumentName", "x-amz-object-attributes").withField("ArgumentValue", name)
			}
			*flag = true
		}
	}
	if a == (attributes{}) {
		return a, errInvalidRequest.withMessage("The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	return a, nil
}

// attributePage reads which parts are wanted.
func (r *request) attributePage() (limit, marker int, err error) {
	if limit, err = pageLimit(r.headers.get("x-amz-max-parts"), "x-amz-max-parts"); err != nil {
		return 0, 0, err
	}
	marker, err = parseCount(r.headers.get("x-amz-part-number-marker"), "x-amz-part-number-marker", 0)
	return limit, marker, err
}

// objectParts writes a page of a multipart object's parts.
func (d *document) objectParts(parts []meta.Part, marker, limit int) {
	d.open("ObjectParts")
	d.int("PartsCount", int64(len(parts)))
	d.int("PartNumberMarker", int64(marker))
	page := parts
	for len(page) > 0 && page[0].Number <= marker {
		page = page[1:]
	}
	truncated := len(page) > limit && limit > 0
	page = page[:min(len(page), limit)]
	if truncated {
		d.int("NextPartNumberMarker", int64(page[len(page)-1].Number))
	}
	d.int("MaxParts", int64(limit))
	d.bool("IsTruncated", truncated)
	for i := range page {
		d.open("Part")
		d.int("PartNumber", int64(page[i].Number))
		d.int("Size", page[i].Size)
		d.checksum(page[i].Checksum, 0)
		d.close("Part")
	}
	d.close("ObjectParts")
}
