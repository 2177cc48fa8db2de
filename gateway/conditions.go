package gateway

import (
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"kintsugi/meta"
)

// Names of the conditions, as headers and as the error document has them.
const (
	ifMatch           = "if-match"
	ifNoneMatch       = "if-none-match"
	ifModifiedSince   = "if-modified-since"
	ifUnmodifiedSince = "if-unmodified-since"
)

// readConditions are the conditional headers of a read; CopyObject has its own names for them.
type readConditions struct {
	match, noneMatch                     string
	modifiedSince, unmodifiedSince       time.Time
	hasMatch, hasNoneMatch               bool
	hasModifiedSince, hasUnmodifiedSince bool
}

// parseReadConditions reads the four headers whose names begin with prefix. Dates that make no sense are ignored,
// as HTTP demands.
func (r *request) parseReadConditions(prefix string) (c readConditions) {
	c.match, c.hasMatch = r.headers.lookup(prefix + ifMatch)
	c.noneMatch, c.hasNoneMatch = r.headers.lookup(prefix + ifNoneMatch)
	c.modifiedSince, c.hasModifiedSince = parseHTTPDate(r.headers.get(prefix + ifModifiedSince))
	c.unmodifiedSince, c.hasUnmodifiedSince = parseHTTPDate(r.headers.get(prefix + ifUnmodifiedSince))
	return c
}

// verdict is what conditions say of an object.
type verdict uint8

const (
	proceed     verdict = iota
	notModified         // 304
	failed              // 412
)

// judge evaluates the conditions against an object, in the order of RFC 9110: an ETag
// outweighs a date. condition names the header that decided.
func (c *readConditions) judge(etag string, modified time.Time) (v verdict, condition string) {
	modified = modified.Truncate(time.Second)
	switch {
	case c.hasMatch:
		if !matchETag(c.match, etag) {
			return failed, "If-Match"
		}
	case c.hasUnmodifiedSince && modified.After(c.unmodifiedSince):
		return failed, "If-Unmodified-Since"
	}
	switch {
	case c.hasNoneMatch:
		if matchETag(c.noneMatch, etag) {
			return notModified, "If-None-Match"
		}
	case c.hasModifiedSince && !modified.After(c.modifiedSince):
		return notModified, "If-Modified-Since"
	}
	return proceed, ""
}

// matchETag tells whether a list of ETags, quoted or not, or "*" covers etag.
func matchETag(list, etag string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || unquoteETag(item) == etag {
			return true
		}
	}
	return false
}

// unquoteETag strips quotes and the mark of a weak ETag.
func unquoteETag(s string) string {
	s = strings.TrimPrefix(strings.TrimSpace(s), "W/")
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	return s
}

func parseHTTPDate(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, false
	}
	t, err := fasthttp.ParseHTTPDate([]byte(s))
	if err != nil {
		for _, layout := range [...]string{time.RFC850, time.ANSIC, time.RFC3339} {
			if t, err = time.Parse(layout, s); err == nil {
				break
			}
		}
	}
	return t, err == nil
}

// writeCondition reads the conditions of a write. Those that S3 does not have for writes are refused:
// ignoring one could overwrite what the client meant to keep.
func (r *request) writeCondition() (meta.Condition, error) {
	var c meta.Condition
	match, hasMatch := r.headers.lookup(ifMatch)
	none, hasNone := r.headers.lookup(ifNoneMatch)
	switch {
	case hasMatch && hasNone:
		return c, errNotImplemented.withField("Header", "If-Match, If-None-Match")
	case hasNone && unquoteETag(none) != "*":
		return c, errNotImplemented.withField("Header", "If-None-Match")
	case r.headers.has(ifModifiedSince) || r.headers.has(ifUnmodifiedSince):
		return c, errNotImplemented.withField("Header", "If-Modified-Since, If-Unmodified-Since")
	}
	c.IfNoneMatch = hasNone
	if hasMatch {
		c.IfMatch = unquoteETag(match)
		if c.IfMatch == "" {
			return c, errInvalidArgument.withField("ArgumentName", "If-Match")
		}
	}
	return c, nil
}

// deleteCondition reads the conditions of a delete.
func (r *request) deleteCondition() (meta.Condition, error) {
	c, err := r.writeCondition()
	if err != nil {
		return c, err
	}
	if text, ok := r.headers.lookup("x-amz-if-match-size"); ok {
		size, err := strconv.ParseInt(text, 10, 64)
		if err != nil || size < 0 {
			return c, errInvalidArgument.withField("ArgumentName", "x-amz-if-match-size")
		}
		c.IfMatchSize = &size
	}
	if text, ok := r.headers.lookup("x-amz-if-match-last-modified-time"); ok {
		t, ok := parseHTTPDate(text)
		if !ok {
			return c, errInvalidArgument.withField("ArgumentName", "x-amz-if-match-last-modified-time")
		}
		c.IfMatchModified = &t
	}
	return c, nil
}

// conditionName names the condition in force for the error document of a failed write.
func conditionName(c meta.Condition) string {
	if c.IfNoneMatch {
		return "If-None-Match"
	}
	return "If-Match"
}
