package bench

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeS3 is as much of S3 as the load generator uses, in memory.
type fakeS3 struct {
	mu       sync.Mutex
	buckets  map[string]bool
	objects  map[string][]byte // by bucket/key
	requests []string          // method and form of payload

	corrupt    bool   // flip a byte of every GET
	failWith   int    // status of every PUT of an object, when set
	failTimes  int    // so many PUTs fail, then none
	omitKey    string // left out of listings
	closeConns bool   // end the connection after every answer
}

func startFake(t *testing.T) (*fakeS3, string) {
	t.Helper()
	f := &fakeS3{buckets: map[string]bool{}, objects: map[string][]byte{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.URL
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Server", "fake")
	if f.closeConns {
		w.Header().Set("Connection", "close")
	}
	f.requests = append(f.requests, r.Method+" "+r.Header.Get("x-amz-content-sha256"))
	bucket, key, isObject := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case !isObject && r.Method == "PUT":
		f.buckets[bucket] = true
	case !f.buckets[bucket]:
		fail(w, 404, "NoSuchBucket")
	case !isObject && r.Method == "GET":
		f.list(w, bucket, r.URL.Query())
	case !isObject && r.Method == "POST":
		f.deleteMany(w, r, bucket, body)
	case !isObject && r.Method == "DELETE":
		delete(f.buckets, bucket)
		w.WriteHeader(204)
	case isObject:
		f.object(w, r, bucket+"/"+key, body)
	}
}

func (f *fakeS3) object(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	switch r.Method {
	case "PUT":
		if f.failTimes > 0 {
			f.failTimes--
			fail(w, 503, "SlowDown")
			return
		}
		if f.failWith != 0 {
			fail(w, f.failWith, "SlowDown")
			return
		}
		if r.Header.Get("x-amz-content-sha256") == chunkedPayload {
			body = unchunk(body)
		}
		f.objects[name] = body
	case "DELETE":
		delete(f.objects, name)
		w.WriteHeader(204)
	default:
		stored, found := f.objects[name]
		if !found {
			fail(w, 404, "NoSuchKey")
			return
		}
		if f.corrupt {
			stored = slices.Clone(stored)
			stored[len(stored)/2] ^= 1
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(stored)))
		_, _ = w.Write(stored)
	}
}

func fail(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>because</Message></Error>", code)
}

func unchunk(body []byte) []byte {
	var out []byte
	for {
		head, rest, _ := bytes.Cut(body, []byte("\r\n"))
		hexSize, _, _ := bytes.Cut(head, []byte(";"))
		size, err := strconv.ParseInt(string(hexSize), 16, 64)
		if err != nil || size == 0 {
			return out
		}
		out = append(out, rest[:size]...)
		body = rest[size+2:]
	}
}

func (f *fakeS3) list(w http.ResponseWriter, bucket string, query map[string][]string) {
	get := func(name string) string { return strings.Join(query[name], "") }
	prefix, delimiter, after := get("prefix"), get("delimiter"), strings.TrimPrefix(get("continuation-token"), "t&")
	var keys []string
	for name := range f.objects {
		key, found := strings.CutPrefix(name, bucket+"/")
		if found && strings.HasPrefix(key, prefix) && key != f.omitKey {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var out strings.Builder
	count, last, truncated := 0, "", false
	for _, key := range keys {
		entry, tag := key, "<Contents><Key>%s</Key></Contents>"
		if i := strings.Index(key[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			entry, tag = key[:len(prefix)+i+1], "<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>"
		}
		if entry <= after || entry == last {
			continue
		}
		if count == pageKeys {
			truncated = true
			break
		}
		fmt.Fprintf(&out, tag, entry)
		last = entry
		count++
	}
	fmt.Fprintf(w, "<ListBucketResult>%s<IsTruncated>%v</IsTruncated>", out.String(), truncated)
	if truncated {
		fmt.Fprintf(w, "<NextContinuationToken>t&amp;%s</NextContinuationToken>", last)
	}
	fmt.Fprint(w, "</ListBucketResult>")
}

func (f *fakeS3) deleteMany(w http.ResponseWriter, r *http.Request, bucket string, body []byte) {
	sum := md5.Sum(body)
	if r.Header.Get("Content-MD5") != base64.StdEncoding.EncodeToString(sum[:]) {
		fail(w, 400, "BadDigest")
		return
	}
	var request struct {
		Object []struct{ Key string }
	}
	if err := xml.Unmarshal(body, &request); err != nil {
		fail(w, 400, "MalformedXML")
		return
	}
	for _, o := range request.Object {
		delete(f.objects, bucket+"/"+o.Key)
	}
	fmt.Fprint(w, "<DeleteResult></DeleteResult>")
}
