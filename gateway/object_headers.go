package gateway

import (
	"mime"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"kintsugi/meta"
)

const (
	defaultContentType = "binary/octet-stream"
	userPrefix         = "x-amz-meta-"
	maxUserBytes       = 2 << 10 // of names and values of user metadata
)

// responseOverrides maps the query parameters that replace a header of the answer to its name.
var responseOverrides = map[string]string{
	"response-cache-control":       "Cache-Control",
	"response-content-disposition": "Content-Disposition",
	"response-content-encoding":    "Content-Encoding",
	"response-content-language":    "Content-Language",
	"response-content-type":        "Content-Type",
	"response-expires":             "Expires",
}

// storageClasses are accepted and reported back; all are kept the same way. The others would need a restore.
var storageClasses = map[string]bool{
	"STANDARD": true, "REDUCED_REDUNDANCY": true, "STANDARD_IA": true, "ONEZONE_IA": true,
	"INTELLIGENT_TIERING": true, "GLACIER_IR": true,
}

// objectHeaders reads what is kept with an object: standard headers, user metadata, tags, storage class.
func (r *request) objectHeaders() (meta.Headers, error) {
	h := meta.Headers{
		ContentType:        r.headers.get("content-type"),
		ContentEncoding:    storedEncoding(r.headers.get("content-encoding")),
		ContentDisposition: r.headers.get("content-disposition"),
		ContentLanguage:    r.headers.get("content-language"),
		CacheControl:       r.headers.get("cache-control"),
		Expires:            r.headers.get("expires"),
		WebsiteRedirect:    r.headers.get("x-amz-website-redirect-location"),
	}
	if class := r.headers.get("x-amz-storage-class"); class != "" {
		if !storageClasses[class] {
			return h, errInvalidStorageClass
		}
		if class != "STANDARD" {
			h.StorageClass = class
		}
	}
	if err := r.checkOwnership(); err != nil {
		return h, err
	}
	var err error
	if h.User, err = r.userMetadata(); err != nil {
		return h, err
	}
	if text, ok := r.headers.lookup("x-amz-tagging"); ok {
		h.Tags, err = parseTagging(text)
	}
	return h, err
}

// checkOwnership refuses access lists and locks: buckets here have neither.
func (r *request) checkOwnership() error {
	switch r.headers.get("x-amz-acl") {
	case "", "private", "bucket-owner-full-control":
	default:
		return errACLNotSupported
	}
	if r.headers.hasPrefix("x-amz-grant-") {
		return errACLNotSupported
	}
	if r.headers.hasPrefix("x-amz-object-lock-") {
		return errInvalidRequest.withMessage("Bucket is missing Object Lock Configuration")
	}
	return nil
}

// storedEncoding strips aws-chunked, which frames the request and is no property of the object.
func storedEncoding(value string) string {
	if !strings.Contains(value, "aws-chunked") {
		return value
	}
	var kept []string
	for coding := range strings.SplitSeq(value, ",") {
		if coding = strings.TrimSpace(coding); coding != "" && coding != "aws-chunked" {
			kept = append(kept, coding)
		}
	}
	return strings.Join(kept, ",")
}

// userMetadata collects the x-amz-meta- headers; the values of a repeated one are joined.
func (r *request) userMetadata() (map[string]string, error) {
	var user map[string]string
	size := 0
	for _, f := range r.headers.fields {
		name, ok := strings.CutPrefix(f.name, userPrefix)
		if !ok {
			continue
		}
		if user == nil {
			user = make(map[string]string)
		}
		value := decodeWord(f.value)
		if !utf8.ValidString(value) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, errInvalidArgument.withMessage("Metadata values must be UTF-8 text of one line.").withField("ArgumentName", f.name)
		}
		if old, ok := user[name]; ok {
			value = old + "," + value
		} else {
			size += len(name)
		}
		size += len(value) - len(user[name])
		user[name] = value
	}
	if size > maxUserBytes {
		return nil, errMetadataTooLarge
	}
	return user, nil
}

// decodeWord turns an RFC 2047 word into the text that it encodes.
func decodeWord(value string) string {
	if !strings.HasPrefix(value, "=?") {
		return value
	}
	var decoder mime.WordDecoder
	if text, err := decoder.DecodeHeader(value); err == nil {
		return text
	}
	return value
}

// encodeWord makes a text with other than ASCII characters fit for a header.
func encodeWord(value string) string {
	for i := range len(value) {
		if value[i] >= utf8.RuneSelf {
			return mime.QEncoding.Encode("UTF-8", value)
		}
	}
	return value
}

// setObjectHeaders sets what GET and HEAD tell of v, apart from its length and checksum.
func (r *request) setObjectHeaders(h *fasthttp.ResponseHeader, v *meta.Version) error {
	r.setValidators(h, v)
	h.Set("Accept-Ranges", "bytes")
	contentType := v.Headers.ContentType
	if contentType == "" {
		contentType = defaultContentType
	}
	h.SetContentType(contentType)
	setIf(h, "Cache-Control", v.Headers.CacheControl)
	setIf(h, "Content-Disposition", v.Headers.ContentDisposition)
	setIf(h, "Content-Encoding", v.Headers.ContentEncoding)
	setIf(h, "Content-Language", v.Headers.ContentLanguage)
	setIf(h, "Expires", v.Headers.Expires)
	setIf(h, "x-amz-website-redirect-location", v.Headers.WebsiteRedirect)
	setIf(h, "x-amz-storage-class", v.Headers.StorageClass)
	for name, value := range v.Headers.User {
		h.Set(userPrefix+name, encodeWord(value))
	}
	if n := len(v.Headers.Tags); n > 0 {
		h.Set("x-amz-tagging-count", formatInt(n))
	}
	return r.overrideHeaders(h)
}

// setValidators sets what a 304 has, too.
func (r *request) setValidators(h *fasthttp.ResponseHeader, v *meta.Version) {
	h.Set("ETag", quote(v.ETag))
	var date [32]byte
	h.SetBytesV("Last-Modified", fasthttp.AppendHTTPDate(date[:0], v.Modified))
	r.setVersion(v.ID, v.Versioned)
}

// overrideHeaders applies the response- parameters of the query.
func (r *request) overrideHeaders(h *fasthttp.ResponseHeader) error {
	for _, p := range r.query {
		name, ok := responseOverrides[p.name]
		if !ok {
			continue
		}
		if strings.ContainsAny(p.value, "\r\n\x00") {
			return errInvalidArgument.withField("ArgumentName", p.name)
		}
		h.Set(name, p.value)
	}
	return nil
}

func setIf(h *fasthttp.ResponseHeader, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// quote returns an ETag as it stands in a header.
func quote(etag string) string { return `"` + etag + `"` }

// S3's limits for the tags of an object.
const (
	maxTags          = 10
	maxTagKeyRunes   = 128
	maxTagValueRunes = 256
)

// parseTagging reads an x-amz-tagging header: a query string.
func parseTagging(text string) (map[string]string, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, errInvalidTag.withMessage("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	}
	tags := make(map[string]string, len(values))
	for key, value := range values {
		if len(value) != 1 {
			return nil, errInvalidTag.withMessage("Cannot provide multiple Tags with the same key")
		}
		tags[key] = value[0]
	}
	return tags, checkTags(tags)
}

// checkTags holds tags against S3's limits.
func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return errBadRequest.withMessage("Object tags cannot be greater than 10")
	}
	for key, value := range tags {
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxTagKeyRunes || strings.HasPrefix(strings.ToLower(key), "aws:"):
			return errInvalidTag.withMessage("The TagKey you have provided is invalid")
		case utf8.RuneCountInString(value) > maxTagValueRunes:
			return errInvalidTag.withMessage("The TagValue you have provided is invalid")
		case !validTagText(key) || !validTagText(value):
			return errInvalidTag
		}
	}
	return nil
}

func validTagText(s string) bool { return utf8.ValidString(s) && representable(s) }
