package chaos

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// liar is a store in memory that speaks enough S3 for the clients, and lies in one way now and then.
type liar struct {
	lie string // "": it tells the truth

	mu      sync.Mutex // guards all below
	rand    *rand.Rand
	objects map[string]*liarObject
	old     map[string]*liarObject // what was replaced or deleted last
	uploads map[string]map[int][]byte
	names   map[string]http.Header // of uploads
	lies    int
}

type liarObject struct {
	data    []byte
	etag    string
	version string
	at      time.Time
}

func newLiar(lie string) *liar {
	return &liar{lie: lie, rand: rand.New(rand.NewPCG(1, 2)), objects: map[string]*liarObject{}, old: map[string]*liarObject{},
		uploads: map[string]map[int][]byte{}, names: map[string]http.Header{}}
}

// now tells whether to lie now, in this way: mostly it does not, so that the lie has to be found.
func (l *liar) now(lie string) bool {
	if l.lie != lie || l.rand.IntN(10) != 0 {
		return false
	}
	l.lies++
	return true
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	switch {
	case name == "" && r.Method == http.MethodGet:
		l.list(w, query.Get("prefix"))
	case name == "":
	case r.Method == http.MethodPost || query.Has("partNumber"):
		l.multipart(w, r, name, body)
	case r.Method == http.MethodPut:
		l.put(w, r.Header, name, body)
	case r.Method == http.MethodDelete:
		if o := l.objects[name]; o != nil && !l.now("undead") {
			l.old[name] = o
			delete(l.objects, name)
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		l.get(w, r, name)
	}
}

func fail(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
}

func (l *liar) put(w http.ResponseWriter, h http.Header, name string, body []byte) {
	now := l.objects[name]
	switch match := strings.Trim(h.Get("If-Match"), `"`); {
	case h.Get("If-None-Match") == "*" && now != nil && !l.now("no condition"):
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	case match != "" && now == nil:
		fail(w, http.StatusNotFound, "NoSuchKey")
		return
	case match != "" && now.etag != match && !l.now("no condition"):
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	if l.now("unavailable") {
		fail(w, http.StatusServiceUnavailable, "SlowDown")
		return
	}
	sum := md5.Sum(body)
	o := &liarObject{body, hex.EncodeToString(sum[:]), h.Get("X-Amz-Meta-Chaos-Version"), time.Now()}
	w.Header().Set("ETag", `"`+o.etag+`"`)
	if l.now("lost") {
		return
	}
	l.old[name], l.objects[name] = now, o
}

func (l *liar) multipart(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	query := r.URL.Query()
	id := query.Get("uploadId")
	switch {
	case query.Has("uploads"):
		id = strconv.Itoa(len(l.uploads))
		l.uploads[id], l.names[id] = map[int][]byte{}, r.Header
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
	case r.Method == http.MethodPut:
		part, _ := strconv.Atoi(query.Get("partNumber"))
		l.uploads[id][part] = body
		w.Header().Set("ETag", `"part"`)
	default:
		var whole []byte
		for part := 1; part <= len(l.uploads[id]); part++ {
			whole = append(whole, l.uploads[id][part]...)
		}
		l.put(noHeader{w}, l.names[id], name, whole)
		sum := md5.Sum(whole)
		fmt.Fprintf(w, "<CompleteMultipartUploadResult><ETag>%x</ETag></CompleteMultipartUploadResult>", sum)
	}
}

// noHeader lets put answer nothing by itself.
type noHeader struct{ http.ResponseWriter }

func (l *liar) get(w http.ResponseWriter, r *http.Request, name string) {
	o := l.objects[name]
	if old := l.old[name]; old != nil && l.now("stale") {
		o = old
	}
	if o == nil || l.now("not found") {
		fail(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	data := o.data
	h := w.Header()
	h.Set("ETag", `"`+o.etag+`"`)
	h.Set("X-Amz-Meta-Chaos-Version", o.version)
	h.Set("Last-Modified", o.at.UTC().Format(http.TimeFormat))
	first, last := 0, len(data)-1
	status := http.StatusOK
	if text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		a, b, _ := strings.Cut(text, "-")
		first, _ = strconv.Atoi(a)
		if n, err := strconv.Atoi(b); err == nil {
			last = min(n, last)
		}
		if first >= len(data) {
			fail(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
			return
		}
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(data)))
	}
	data = data[first : last+1]
	switch {
	case len(data) > 1 && l.now("short"):
		data = data[:len(data)-1]
	case r.Method == http.MethodGet && l.now("wrong byte"):
		data = slices.Clone(data)
		data[l.rand.IntN(len(data))] ^= 1 << l.rand.IntN(8)
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	if r.Method == http.MethodGet && len(data) > 1 && l.now("cut") {
		w.WriteHeader(status)
		_, _ = w.Write(data[:len(data)/2])
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		_, _ = w.Write(data)
	}
}

type listEntry struct {
	Key          string
	Size         int
	ETag         string
	LastModified string
}

func (l *liar) list(w http.ResponseWriter, prefix string) {
	var result struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Contents []listEntry
	}
	for name, o := range l.objects {
		if strings.HasPrefix(name, prefix) && !l.now("unlisted") {
			result.Contents = append(result.Contents, listEntry{name, len(o.data), `"` + o.etag + `"`, o.at.UTC().Format(time.RFC3339)})
		}
	}
	for name, o := range l.old {
		if o != nil && l.objects[name] == nil && strings.HasPrefix(name, prefix) && l.now("phantom") {
			result.Contents = append(result.Contents, listEntry{name, len(o.data), `"` + o.etag + `"`, o.at.UTC().Format(time.RFC3339)})
		}
	}
	slices.SortFunc(result.Contents, func(a, b listEntry) int { return strings.Compare(a.Key, b.Key) })
	_ = xml.NewEncoder(w).Encode(result)
}
