package bench

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"strconv"
	"time"
)

const (
	keysPerFolder = 10
	pageKeys      = 1000
)

// Kinds of listing request.
const (
	kindPage      = "LIST page"
	kindPageFirst = "LIST page, first tenth"
	kindPageLast  = "LIST page, last tenth"
	kindWalk      = "LIST whole"
)

// fillStep writes the keys of a listing run: ten to a folder.
func (l *lister) fillStep(next func() uint64) step {
	return func(ctx context.Context, w *worker) bool {
		n := next()
		if n >= uint64(l.config.Objects) {
			return false
		}
		for ctx.Err() == nil && w.put(ctx, fmt.Sprintf("d%08d/", n/keysPerFolder), n) != nil && w.failures < maxPrepareTries {
		}
		return w.failures < maxPrepareTries
	}
}

// lister knows what a listing must return.
type lister struct {
	config    *Config
	delimiter string
}

// entries is the number of keys, or of folders when they are folded.
func (l *lister) entries() int {
	if l.delimiter == "" {
		return l.config.Objects
	}
	return (l.config.Objects + keysPerFolder - 1) / keysPerFolder
}

// walkStep lists everything once, page by page.
func (l *lister) walkStep(ctx context.Context, w *worker) bool {
	var token string
	seen, pages, began := 0, (l.entries()+pageKeys-1)/pageKeys, time.Now()
	for number := 0; ; number++ {
		pageBegan := time.Now()
		page, err := w.listPage(l.config.Prefix, l.delimiter, token)
		if err != nil {
			w.record.fail(kindPage, err)
			w.backOff(ctx)
			return true
		}
		took := time.Since(pageBegan)
		w.failures = 0
		w.record.done(kindPage, took, int64(page.bytes), int64(page.entries))
		switch {
		case pages >= 20 && number < pages/10:
			w.record.done(kindPageFirst, took, 0, 0)
		case pages >= 20 && number >= pages-pages/10 && number < pages:
			w.record.done(kindPageLast, took, 0, 0)
		}
		seen += page.entries
		token = page.token
		if token == "" {
			break
		}
		if ctx.Err() != nil {
			return false
		}
	}
	if seen != l.entries() {
		w.record.fail(kindWalk, fmt.Errorf("%w: %d entries, want %d", ErrListing, seen, l.entries()))
		return true
	}
	w.record.done(kindWalk, time.Since(began), 0, int64(seen))
	return true
}

// page is what a benchmark needs of a listing's answer.
type page struct {
	entries int
	bytes   int
	token   string // of the next page; empty on the last one
}

// listPage asks for one page of ListObjectsV2.
func (w *worker) listPage(prefix, delimiter, token string) (page, error) {
	body, err := w.listBody(prefix, delimiter, token)
	if err != nil {
		return page{}, err
	}
	p := page{bytes: len(body)}
	p.entries = bytes.Count(body, []byte("<Contents>")) + bytes.Count(body, []byte("<CommonPrefixes>"))
	if bytes.Contains(body, []byte("<IsTruncated>true<")) {
		p.token, err = textOf(body, "NextContinuationToken")
	}
	return p, err
}

func (w *worker) listBody(prefix, delimiter, token string) ([]byte, error) {
	query := ""
	if token != "" {
		query = "continuation-token=" + escapeQuery(token) + "&"
	}
	if delimiter != "" {
		query += "delimiter=" + escapeQuery(delimiter) + "&"
	}
	query += "list-type=2&max-keys=" + strconv.Itoa(pageKeys) + "&prefix=" + escapeQuery(prefix)
	r := w.bucketRequest("GET", query)
	w.listed = w.listed[:0]
	_, err := w.client.do(r, func(p []byte) { w.listed = append(w.listed, p...) })
	return w.listed, err
}

// bucketRequest begins a request about the bucket itself.
func (w *worker) bucketRequest(method, query string) *request {
	path := append(w.req.path[:0], '/')
	w.req = request{method: method, path: append(path, w.config.Bucket...), query: query, payloadHash: emptySHA256}
	return &w.req
}

// textOf returns the unescaped text of the first element with that name.
func textOf(body []byte, element string) (string, error) {
	_, rest, found := bytes.Cut(body, []byte("<"+element+">"))
	if !found {
		return "", fmt.Errorf("%w: truncated, but without %s", ErrListing, element)
	}
	text, _, _ := bytes.Cut(rest, []byte("<"))
	var value string
	if err := xml.Unmarshal([]byte("<t>"+string(text)+"</t>"), &value); err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrListing, element, err)
	}
	return value, nil
}
